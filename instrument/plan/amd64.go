package plan

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

var amd64 = architecture{
	integers: []string{"AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11"},
	floats:   15, // X0 to X14
	g:        func(r gobin.Runtime) string { return fmt.Sprintf("at FS:%d", r.TLSOffset) },
	looseG:   true, // assembly uses R14 as scratch, and an ABI0 wrapper has not loaded it yet
	prologue: prologueAMD64,
	stores:   storesAMD64,
	clobbers: func([]byte) bool { return false },
	misread: func(in *gobin.Instruction) bool {
		n, vector := vectorLength(in.Bytes)
		return vector && (n != len(in.Bytes) || in.Kind != gobin.Plain)
	},
	refers:     refersAMD64,
	startDepth: 40, pushed: 8,
	firstMethod: firstMethodAMD64,
	mnemonic: func(s *Site) string {
		switch s.Kind {
		case gobin.PushFrame:
			return "PUSHQ BP"
		case gobin.Return:
			return "RET"
		case gobin.Nop:
			return "NOP"
		case gobin.Jump, gobin.JumpRegister, gobin.JumpMemory:
			return "JMP"
		case gobin.CondJump:
			return "Jcc"
		case gobin.Call, gobin.CallIndirect:
			return "CALL"
		}
		return "-"
	},
}

// prologueAMD64 recognises what cmd/internal/obj/x86 (stacksplit and preprocess
// in obj6.go) puts in front of a body:
//
//	[g into R14] CMPQ SP, guard(R14); JBE more; frame             small frames
//	[g into R14] LEAQ -n(SP), R12; CMPQ R12, guard(R14); JBE; frame  larger ones
//	[g into R14] MOVQ SP, R12; SUBQ n, R12; JCS; CMPQ; JBE; frame    huge ones
//	frame                                                         go:nosplit
//
// where the frame begins with PUSHQ BP from Go 1.21 on, and with SUBQ n, SP
// before. Nothing in front of it writes an argument register or the stack
// pointer, so that there the arguments are in their places and SP is at the
// return address. The kernel emulates PUSHQ BP; it does not emulate SUBQ, but the
// JBE, which is not taken once in each call.
// Only these instructions are accepted: anything else is a body without a
// frame, or, behind a recognised check, not understood.
func prologueAMD64(ins []gobin.Instruction) prologue {
	compared, branched, jump := false, false, 0
	for i := range ins {
		in := &ins[i]
		switch {
		case in.Kind == gobin.PushFrame && (i == 0 || branched):
			return prologue{entry: i, frame: i, framed: true, jump: jump, checked: branched}
		case isLowerStack(in.Bytes) && i == 0:
			return prologue{framed: true}
		case isLowerStack(in.Bytes) && branched && isJBE(ins[jump].Bytes) && jump == i-1:
			return prologue{entry: jump, frame: i, framed: true, jump: jump, checked: true}
		case in.Kind == gobin.CondJump && isBelow(in.Bytes) && (compared || i > 0 && isSubR12(ins[i-1].Bytes)):
			// JBE behind the comparison, JCS behind the subtraction.
			branched, jump = compared, i
		case isCompareGuard(in.Bytes) && !compared:
			compared = true
		case isLoadG(in.Bytes) && !compared, isCheckScratch(in.Bytes) && !compared:
		case branched:
			return prologue{jump: jump, checked: true, broken: "its stack check is not followed by a frame"}
		default:
			return prologue{}
		}
	}
	return prologue{}
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

// isLowerStack recognises SUBQ $n, SP, and ADDQ $-128, SP, which is shorter.
func isLowerStack(b []byte) bool {
	return hasPrefix(b, 0x48, 0x83, 0xec) || hasPrefix(b, 0x48, 0x81, 0xec) || hasPrefix(b, 0x48, 0x83, 0xc4, 0x80)
}

func isJBE(b []byte) bool { return hasPrefix(b, 0x76) || hasPrefix(b, 0x0f, 0x86) }

// isBelow recognises JBE and JCS, short and long.
func isBelow(b []byte) bool {
	return hasPrefix(b, 0x76) || hasPrefix(b, 0x72) || hasPrefix(b, 0x0f, 0x86) || hasPrefix(b, 0x0f, 0x82)
}

func hasPrefix(b []byte, prefix ...byte) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == string(prefix)
}

// storesAMD64 recognises MOV of a whole or partial integer argument register to
// n(SP).
func storesAMD64(b []byte) uint16 {
	if len(b) > 0 && b[0] == 0x66 {
		b = b[1:]
	}
	high := byte(0)
	if len(b) > 0 && b[0]&0xf0 == 0x40 {
		high = b[0] >> 2 & 1 << 3 // REX.R
		b = b[1:]
	}
	if len(b) < 3 || b[0] != 0x88 && b[0] != 0x89 || b[1]&7 != 4 || b[1]>>6 == 3 || b[2] != 0x24 {
		return 0
	}
	register := slices.Index([]byte{0, 3, 1, 7, 6, 8, 9, 10, 11}, high|b[1]>>3&7)
	if register < 0 {
		return 0
	}
	return 1 << register
}

// refersAMD64 recognises LEAQ disp(IP), R.
func refersAMD64(ins []gobin.Instruction, n int) (addr uint64, ok bool) {
	in := &ins[n]
	if len(in.Bytes) != 7 || in.Bytes[0]&0xfb != 0x48 || in.Bytes[1] != 0x8d || in.Bytes[2]&0xc7 != 0x05 {
		return 0, false
	}
	displacement := int32(binary.LittleEndian.Uint32(in.Bytes[3:]))
	return in.Addr + uint64(len(in.Bytes)) + uint64(int64(displacement)), true
}

// firstMethodAMD64 recognises MOVQ 24(R), S; …; CALL S: where an itab has the
// first method.
func firstMethodAMD64(ins []gobin.Instruction, n int) bool {
	call := ins[n].Bytes
	if len(call) < 2 || call[len(call)-2] != 0xff || call[len(call)-1]&0xf8 != 0xd0 {
		return false
	}
	register := call[len(call)-1] & 7
	if len(call) == 3 {
		register |= 8
	}
	for back := n - 1; back >= 0 && back >= n-6; back-- {
		b := ins[back].Bytes
		if len(b) < 4 || b[0]&0xf8 != 0x48 || b[1] != 0x8b || b[0]>>2&1<<3|b[2]>>3&7 != register {
			continue
		}
		return b[2]>>6 == 1 && b[len(b)-1] == 24
	}
	return false
}
