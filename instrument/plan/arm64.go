package plan

import (
	"encoding/binary"

	"github.com/uspan/uspan/instrument/gobin"
)

var arm64 = architecture{
	integers:   []string{"R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"},
	floats:     16, // F0 to F15
	g:          func(gobin.Runtime) string { return "in R28" },
	prologue:   prologueARM64,
	stores:     storesARM64,
	clobbers:   func(code []byte) bool { return word(code) == moveLinkR3 },
	misread:    func(*gobin.Instruction) bool { return false },
	refers:     refersARM64,
	startDepth: 48, pushed: 0,
	firstMethod: firstMethodARM64,
	mnemonic: func(s *Site) string {
		if s.Restart {
			return "MOVD"
		}
		switch s.Kind {
		case gobin.PushFrame:
			return "MOVD.W"
		case gobin.Return:
			return "RET"
		case gobin.Nop:
			return "NOOP"
		case gobin.Jump:
			return "B"
		case gobin.JumpRegister:
			return "B (Rn)"
		case gobin.CondJump:
			return "BLS"
		case gobin.Call:
			return "BL"
		}
		return "-"
	},
}

// Instructions of prologues (cmd/internal/obj/arm64/obj7.go).
const (
	guard0       = 0xf9400b90 // MOVD 16(R28), R16: g.stackguard0
	guard1       = 0xf9400f90 // MOVD 24(R28), R16: g.stackguard1, on the system stack
	compareSP    = 0xeb3063ff // CMP R16, RSP
	compareR17   = 0xeb10023f // CMP R16, R17
	moveR20SP    = 0x9100029f // MOVD R20, RSP
	moveR27SP    = 0x9100037f // MOVD R27, RSP, up to Go 1.20
	moveLinkR3   = 0xaa1e03e3 // MOVD R30, R3
	carryClear   = 3          // the condition LO
	lowerOrSame  = 9          // the condition LS
	scratchR17   = 17
	frameR20     = 20
	temporaryR27 = 27
)

// prologueARM64 recognises what stacksplit and preprocess put in front of a body:
//
//	MOVD guard(R28), R16; CMP R16, RSP; BLS more; frame               small frames
//	MOVD guard(R28), R16; SUB $n, RSP, R17; CMP R16, R17; BLS; frame  larger ones
//	MOVD …; [MOVD $n, R27]; SUBS …, RSP, R17; BLO; CMP; BLS; frame    huge ones
//	frame                                                             go:nosplit
//
// where Go 1.18 compares small frames in R17, too, and the frame is
//
//	MOVD.W R30, -n(RSP)                                  up to 240 bytes
//	[MOVD $n, R27]; SUB …, RSP, R20; STP (R29, R30), -8(R20); MOVD R20, RSP
//
// (up to Go 1.20 with R27 and without R29). Nothing in front of the frame writes
// an argument register, the link register or the stack pointer. The kernel
// simulates the BLS, which is not taken once in each call.
func prologueARM64(ins []gobin.Instruction) prologue {
	if len(ins) == 0 || word(ins[0].Bytes) != guard0 && word(ins[0].Bytes) != guard1 {
		return prologue{framed: makesFrame(ins)}
	}
	unknown := prologue{broken: "its stack check is not one that is known"}
	more := uint64(0) // where BLO leads
	for i := 1; i < len(ins); i++ {
		switch w := word(ins[i].Bytes); {
		case w == compareSP || w == compareR17:
			if i++; i >= len(ins) || condition(&ins[i]) != lowerOrSame || more != 0 && more != ins[i].Target {
				return unknown
			}
			p := prologue{entry: i, frame: i + 1, framed: true, jump: i, checked: true}
			if !makesFrame(ins[i+1:]) {
				p.broken = "its stack check is not followed by a frame"
			}
			return p
		case condition(&ins[i]) == carryClear && more == 0 && writes(word(ins[i-1].Bytes)) == scratchR17:
			more = ins[i].Target
		case ins[i].Kind == gobin.Plain && (writes(w) == scratchR17 || writes(w) == temporaryR27):
		default:
			return unknown
		}
	}
	return unknown
}

// makesFrame says whether instructions begin by making a frame.
func makesFrame(ins []gobin.Instruction) bool {
	if len(ins) > 0 && ins[0].Kind == gobin.PushFrame {
		return true
	}
	for i := range ins {
		switch w := word(ins[i].Bytes); {
		case w == moveR20SP || w == moveR27SP:
			return i > 0
		case ins[i].Kind != gobin.Plain || writes(w) != frameR20 && writes(w) != temporaryR27 && !savesLink(w):
			return false
		}
	}
	return false
}

// writes is the register that a word writes which calculates an address in the
// stack, or loads a constant for that; -1 for all others.
func writes(word uint32) int {
	const rsp, none = 31, 31
	to, from := int(word&31), word>>5&31
	switch {
	case word&0x9f800000 == 0x91000000 && to != rsp, // ADD, ADDS, SUB, SUBS $n
		word&0x9fe00000 == 0x8b200000 && to != none: // …, of a register
		if from == rsp || from == frameR20 || from == temporaryR27 || from == scratchR17 {
			return to
		}
	case word&0x9f800000 == 0x92800000, // MOVD $n, in all the ways that it is assembled
		word&0xff8003e0 == 0xb20003e0,
		word&0xbf000000 == 0x18000000:
		return to
	}
	return -1
}

// savesLink recognises STP (R29, R30), -8(R20) and MOVD R30, (R27).
func savesLink(word uint32) bool {
	return word == 0xa93ffa9d || word == 0xf900037e
}

// storesARM64 recognises MOV of a whole or partial integer argument register, or
// of two, to n(RSP).
func storesARM64(code []byte) uint16 {
	const rsp = 31
	w := word(code)
	if w>>5&31 != rsp {
		return 0
	}
	const arguments = 1<<16 - 1
	switch {
	case w&0x3fc00000 == 0x39000000: // STR, STRH, STRB
		return uint16(1 << (w & 31) & arguments)
	case w&0x7fc00000 == 0x29000000: // STP
		return uint16((1<<(w&31) | 1<<(w>>10&31)) & arguments)
	}
	return 0
}

// condition is the condition of a B.cond, or -1.
func condition(in *gobin.Instruction) int {
	if w := word(in.Bytes); w&0xff000010 == 0x54000000 {
		return int(w & 15)
	}
	return -1
}

func word(code []byte) uint32 {
	if len(code) != 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(code)
}

// refersARM64 recognises ADRP page, R; ADD $offset, R, R at the second of the two
// (Arm ARM, C6.2.10 and C6.2.4).
func refersARM64(ins []gobin.Instruction, n int) (addr uint64, ok bool) {
	if n == 0 || len(ins[n-1].Bytes) != 4 || len(ins[n].Bytes) != 4 {
		return 0, false
	}
	adrp, add := binary.LittleEndian.Uint32(ins[n-1].Bytes), binary.LittleEndian.Uint32(ins[n].Bytes)
	if adrp&0x9f000000 != 0x90000000 || add&0xffc00000 != 0x91000000 || add>>5&31 != adrp&31 {
		return 0, false
	}
	pages := int64(int32(adrp>>5&0x7ffff<<2|adrp>>29&3)<<11) >> 11
	return ins[n-1].Addr&^0xfff + uint64(pages<<12) + uint64(add>>10&0xfff), true
}

// firstMethodARM64 recognises MOVD 24(R), S; …; CALL (S): where an itab has the
// first method.
func firstMethodARM64(ins []gobin.Instruction, n int) bool {
	if len(ins[n].Bytes) != 4 {
		return false
	}
	register := binary.LittleEndian.Uint32(ins[n].Bytes) >> 5 & 31
	for back := n - 1; back >= 0 && back >= n-6; back-- {
		if len(ins[back].Bytes) != 4 {
			return false
		}
		if word := binary.LittleEndian.Uint32(ins[back].Bytes); word&31 == register {
			return word&0xfffffc00 == 0xf9400c00 // LDR S, [R, #24]
		}
	}
	return false
}
