package plan

import (
	"github.com/uspan/uspan/instrument/gobin"
)

// A prologue is how a body begins.
type prologue struct {
	// push is the index of the PUSHQ BP that makes the frame, or -1.
	push int
	// checked says that the stack check stands in front of it.
	checked bool
	// broken is why the beginning is not understood, or empty.
	broken string
}

// readPrologue recognises what cmd/internal/obj/x86 (stacksplit and preprocess
// in obj6.go) puts in front of a body from Go 1.21 on:
//
//	[g into R14] CMPQ SP, guard(R14); JBE more; PUSHQ BP             small frames
//	[g into R14] LEAQ -n(SP), R12; CMPQ R12, guard(R14); JBE; PUSHQ  larger ones
//	[g into R14] MOVQ SP, R12; SUBQ n, R12; JCS; CMPQ; JBE; PUSHQ    huge ones
//	PUSHQ BP                                                         go:nosplit
//
// Nothing of it writes an argument register or the stack pointer, so that at
// PUSHQ BP the arguments are in their places and SP is at the return address.
// Only these instructions are accepted: anything else is a body without a
// frame, or, behind a recognised check, not understood.
func readPrologue(ins []gobin.Instruction) prologue {
	compared, branched := false, false
	for i := range ins {
		in := &ins[i]
		switch {
		case in.Kind == gobin.PushFrame && i == 0:
			return prologue{push: 0}
		case in.Kind == gobin.PushFrame && branched:
			return prologue{push: i, checked: true}
		case in.Kind == gobin.CondJump && isBelow(in.Bytes) && (compared || i > 0 && isSubR12(ins[i-1].Bytes)):
			// JBE behind the comparison, JCS behind the subtraction.
			branched = compared
		case isCompareGuard(in.Bytes) && !compared:
			compared = true
		case isLoadG(in.Bytes) && !compared, isCheckScratch(in.Bytes) && !compared:
		case branched:
			return prologue{push: -1, checked: true, broken: "its stack check is not followed by a frame"}
		default:
			return prologue{push: -1}
		}
	}
	return prologue{push: -1}
}

// isCompareGuard recognises CMPQ SP, off(R14) and CMPQ R12, off(R14), where off
// is that of g.stackguard0 or, on the system stack, g.stackguard1.
func isCompareGuard(b []byte) bool {
	return len(b) == 4 && (b[0] == 0x49 || b[0] == 0x4d) && b[1] == 0x3b && b[2] == 0x66 && (b[3] == 0x10 || b[3] == 0x18)
}

// isCheckScratch recognises LEAQ -n(SP), R12, MOVQ SP, R12 and SUBQ $n, R12.
func isCheckScratch(b []byte) bool {
	return hasPrefix(b, 0x4c, 0x8d, 0x64, 0x24) || hasPrefix(b, 0x4c, 0x8d, 0xa4, 0x24) ||
		hasPrefix(b, 0x49, 0x89, 0xe4) || isSubR12(b)
}

func isSubR12(b []byte) bool {
	return hasPrefix(b, 0x49, 0x81, 0xec) || hasPrefix(b, 0x49, 0x83, 0xec)
}

// isLoadG recognises the ways in which ABI0 code loads g from thread-local
// storage into R14: at a fixed offset, or over R14 itself in code that may be
// loaded anywhere.
func isLoadG(b []byte) bool {
	return hasPrefix(b, 0x64, 0x4c, 0x8b, 0x34, 0x25) || // MOVQ FS:off, R14
		hasPrefix(b, 0x49, 0xc7, 0xc6) || // MOVQ $off, R14
		hasPrefix(b, 0x4c, 0x8b, 0x35) || // MOVQ off(IP), R14
		hasPrefix(b, 0x64, 0x4d, 0x8b, 0x36) // MOVQ FS:(R14), R14
}

// isBelow recognises JBE and JCS, short and long.
func isBelow(b []byte) bool {
	return hasPrefix(b, 0x76) || hasPrefix(b, 0x72) || hasPrefix(b, 0x0f, 0x86) || hasPrefix(b, 0x0f, 0x82)
}

func hasPrefix(b []byte, prefix ...byte) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == string(prefix)
}
