package gobin

import "encoding/binary"

// Registers of arm64: that which holds the current g, and the stack pointer, or
// the register that is always zero.
const (
	gARM64  = 28
	spARM64 = 31
)

// checkARM64 is MOVD stackguard0(R28), R16, which begins a prologue.
const checkARM64 = 0xf9400b90

// wordsARM64 decodes all of a function, and leaves out NOPs, which fill gaps, and
// constants.
func wordsARM64(code []byte, addr uint64) ([]uint32, bool) {
	var body Body
	if body.decodeARM64(code, addr); body.Undecoded != 0 {
		return nil, false
	}
	var all []uint32
	for _, in := range body.Instructions {
		if in.Kind != Nop && in.Kind != Data {
			all = append(all, binary.LittleEndian.Uint32(in.Bytes))
		}
	}
	return all, true
}

// A transfer loads or stores one or two neighbouring words of 64 bits.
type transfer struct {
	load      bool
	base      uint32 // the register that is the pointer
	offset    int64  // of the first word from it
	registers []uint32
}

// transferARM64 recognises LDR, STR, LDP and STP of 64 bits at an immediate offset
// (Arm Architecture Reference Manual, C6.2).
func transferARM64(word uint32) (t transfer, ok bool) {
	t.base, t.registers = word>>5&31, []uint32{word & 31}
	switch word & 0xffc00000 {
	case 0xf9400000, 0xf9000000:
		t.load, t.offset = word&0x00400000 != 0, int64(word>>10&0xfff)*8
	case 0xa9400000, 0xa9000000:
		t.load, t.offset = word&0x00400000 != 0, int64(int32(word<<10)>>25)*8
		t.registers = append(t.registers, word>>10&31)
	default:
		return transfer{}, false
	}
	return t, true
}

// loadARM64 recognises the load of one word, which leaves the pointer as it is.
func loadARM64(word uint32) (from transfer, into uint32, ok bool) {
	t, ok := transferARM64(word)
	if !ok || !t.load || len(t.registers) != 1 || t.registers[0] == t.base {
		return transfer{}, 0, false
	}
	return t, t.registers[0], true
}

// An accessARM64 goes through a pointer: to the word at an offset from it.
type accessARM64 struct {
	at     int  // index of the instruction
	loads  bool // a whole word into a register
	offset uint64
	into   uint32
}

// usesARM64 is usesOf for arm64, where R28 is the current g.
func usesARM64(code []uint32, register uint32) []accessARM64 {
	held := registerSet(0).with(register, true)
	slots := make(map[int64]bool)
	var uses []accessARM64
	for i, word := range code {
		t, whole := transferARM64(word)
		switch through := held.has(word>>5&31) && addressesARM64(word) && word != checkARM64; {
		case through && whole:
			for n, r := range t.registers {
				uses = append(uses, accessARM64{i, t.load, uint64(t.offset) + 8*uint64(n), r})
			}
		case through:
			uses = append(uses, accessARM64{at: i})
		}
		switch {
		case callsARM64(word):
			held &= registerSet(0).with(gARM64, true)
		case whole && t.load:
			for n, r := range t.registers {
				held = held.with(r, t.base == spARM64 && slots[t.offset+8*int64(n)])
			}
		case whole:
			for n, r := range t.registers {
				if t.base == spARM64 {
					slots[t.offset+8*int64(n)] = held.has(r)
				}
			}
		case word&0xffe0ffe0 == 0xaa0003e0: // MOVD
			held = held.with(word&31, held.has(word>>16&31))
		default:
			held &^= writtenARM64(word)
		}
	}
	return uses
}

// A registerSet is a set of registers, a bit for each.
type registerSet uint32

func (s registerSet) has(register uint32) bool { return s>>register&1 == 1 }

// with puts a register into the set, or takes it out; R31 is never in it.
func (s registerSet) with(register uint32, in bool) registerSet {
	if in && register != spARM64 {
		return s | 1<<register
	}
	return s &^ (1 << register)
}

// storesOrLoads says whether a word is of the loads and stores (C4.1).
func storesOrLoads(word uint32) bool { return word&0x0a000000 == 0x08000000 }

// addressesARM64 says whether a word has an address in the register that its
// bits 5 to 9 name, or computes one from it: ADD of an immediate.
func addressesARM64(word uint32) bool {
	_, size := literal(word, 0)
	return storesOrLoads(word) && size == 0 || word&0xff800000 == 0x91000000
}

// writtenARM64 are the registers that an instruction other than a transfer may
// write: more of them rather than fewer.
func writtenARM64(word uint32) registerSet {
	target := registerSet(0).with(word&31, true)
	base := registerSet(0).with(word>>5&31, true)
	switch {
	case word&0x1c000000 == 0x14000000 && word>>24 != 0xd5: // a branch
		return 0
	case !storesOrLoads(word):
		return target
	case word>>27&7 == 7: // one register
		if word&0x00c00000 == 0 && (word>>24&1 == 1 || word>>21&1 == 0) { // a store
			target = 0
		}
		if word&0x01200000 == 0 && word>>10&1 == 1 { // it moves the pointer, too
			target |= base
		}
		return target
	}
	return target | base.with(word>>10&31, true).with(word>>16&31, true)
}

// callsARM64 recognises BL and BLR.
func callsARM64(word uint32) bool {
	return word&0xfc000000 == 0x94000000 || word&0xfffffc1f == 0xd63f0000
}

// comparesARM64 recognises CMP of two registers, in either order.
func comparesARM64(word, one, other uint32) bool {
	n, m := word>>5&31, word>>16&31
	return word&0xffe0fc1f == 0xeb00001f && (n == one && m == other || n == other && m == one)
}

// comparesWithARM64 recognises CMP of a register with a constant.
func comparesWithARM64(word, register, constant uint32) bool {
	return word == 0xf100001f|constant<<10|register<<5
}

// isNilARM64 recognises CBZ.
func isNilARM64(word, register uint32) bool { return word&0xff00001f == 0xb4000000|register }

// equalARM64 and differARM64 recognise BEQ and BNE.
func equalARM64(word uint32) bool  { return word&0xff00001f == 0x54000000 }
func differARM64(word uint32) bool { return word&0xff00001f == 0x54000001 }
