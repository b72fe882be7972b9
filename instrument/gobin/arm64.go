package gobin

import (
	"encoding/binary"
	"slices"

	"golang.org/x/arch/arm64/arm64asm"
)

// wordARM64 is the size of an arm64 instruction in bytes.
const wordARM64 = 4

// decodeARM64 decodes until the end or until the first word that it does not
// know. The assembler puts constants that do not fit into an instruction behind
// the code, or between a branch and its target (addpool and flushpool in
// cmd/internal/obj/arm64/asm7.go): they are Data, whatever they look like.
func (body *Body) decodeARM64(code []byte, addr uint64) {
	*body = Body{Instructions: slices.Grow(body.Instructions[:0], len(code)/wordARM64)}
	d := decoderARM64{entry: addr, end: addr + uint64(len(code))}
	for ; len(code) > 0; addr += wordARM64 {
		in, ok := d.next(code, addr)
		if !ok {
			body.Undecoded = addr
			break
		}
		body.Instructions = append(body.Instructions, in)
		code = code[wordARM64:]
	}
	body.distrust(d.end)
	if body.Undecoded == 0 {
		last := len(body.Instructions) - 1
		for last > 0 && binary.LittleEndian.Uint32(body.Instructions[last].Bytes) == paddingARM64 {
			last--
		}
		body.Instructions = body.Instructions[:last+1]
	}
}

// A decoderARM64 is what the words of a function up to some place tell of those
// behind it.
type decoderARM64 struct {
	entry, end uint64
	constants  map[uint64]bool // words that instructions load
	reached    uint64          // the furthest target of a branch
	table      bool            // there is a jump table, whose targets are elsewhere
	before     uint32          // the word in front
	kind       Kind            // what it is
	over       bool            // only constants follow
}

// next decodes the word that code begins with.
func (d *decoderARM64) next(code []byte, addr uint64) (Instruction, bool) {
	if len(code) < wordARM64 {
		return Instruction{}, false
	}
	word := binary.LittleEndian.Uint32(code)
	in := Instruction{Addr: addr, Bytes: code[:wordARM64:wordARM64]}
	known := !d.over && !d.constants[addr] && in.decodeARM64(word, d.before)
	if !known {
		// Up to Go 1.21 there are constants that nothing loads. The last code of a
		// function is never run off, and no branch leads behind it.
		d.over = d.over || !d.constants[addr] && d.reached < addr && leaves(d.kind)
		if !d.over && !d.constants[addr] {
			return Instruction{}, false
		}
		in.Kind, in.Refused = Data, "constant"
	}
	if from, size := literal(word, addr); known && size > 0 && from < d.end {
		// Of what has been decoded already nobody knows which of the two it is.
		if from <= addr || size > d.end-from {
			return Instruction{}, false
		}
		if d.constants == nil {
			d.constants = make(map[uint64]bool)
		}
		for at := from; at < from+size; at += wordARM64 {
			d.constants[at] = true
		}
	}
	if (in.Kind == Jump || in.Kind == CondJump) && in.Target < d.end {
		d.reached = max(d.reached, in.Target)
	}
	d.table = d.table || in.Kind == JumpMemory
	if d.reached <= addr {
		// These stand at the end alone: the jump back from the call of morestack,
		// and what the assembler puts between code and constants.
		restart, stop := in.Kind == Jump && in.Target == d.entry, in.Kind == Jump && in.Target == addr || word == undefinedARM64
		d.over = d.over || known && (restart || stop && !d.table)
	}
	d.before, d.kind = word, in.Kind
	return in, true
}

// leaves says whether nothing runs on behind an instruction.
func leaves(kind Kind) bool {
	return kind == Jump || kind == JumpRegister || kind == Return || kind == Trap
}

// Words that raise an undefined instruction exception: what the linker fills
// gaps between functions with (UDF), and obj.AUNDEF of the assembler.
const (
	paddingARM64   = 0
	undefinedARM64 = 0xbea71700
)

// decodeARM64 fills in what a word does; before is the word in front of it. False:
// it is not known.
func (in *Instruction) decodeARM64(word, before uint32) bool {
	if word == paddingARM64 || word == undefinedARM64 {
		in.Kind, in.Refused = Trap, "undefined"
		return true
	}
	inst, err := arm64asm.Decode(in.Bytes)
	if err != nil && !newerARM64(word) {
		return false
	}
	if err == nil {
		in.Kind, in.Target = kindARM64(inst, word, in.Addr, before)
	}
	in.Emulated, in.Refused = uprobeARM64(word)
	return true
}

// kindARM64 sorts an instruction by what it does to the flow of control.
func kindARM64(inst arm64asm.Inst, word uint32, addr uint64, before uint32) (Kind, uint64) {
	target := uint64(0)
	for _, arg := range inst.Args {
		if rel, ok := arg.(arm64asm.PCRel); ok {
			target = addr + uint64(int64(rel))
		}
	}
	const link = 30
	register := word >> 5 & 31
	switch inst.Op {
	case arm64asm.RET:
		if register == link {
			return Return, 0
		}
		return JumpRegister, 0 // a tail call through a register (OpARM64CALLtailinter, from Go 1.27 on)
	case arm64asm.BR:
		if tableLoad(before, register) {
			return JumpMemory, 0
		}
		return JumpRegister, 0
	case arm64asm.B:
		if _, conditional := inst.Args[0].(arm64asm.Cond); conditional {
			return CondJump, target
		}
		return Jump, target
	case arm64asm.CBZ, arm64asm.CBNZ, arm64asm.TBZ, arm64asm.TBNZ:
		return CondJump, target
	case arm64asm.BL:
		return Call, target
	case arm64asm.BLR:
		return CallIndirect, 0
	case arm64asm.NOP:
		return Nop, 0
	case arm64asm.BRK, arm64asm.HLT, arm64asm.HVC, arm64asm.SMC, arm64asm.ERET, arm64asm.DCPS1, arm64asm.DCPS2, arm64asm.DCPS3:
		return Trap, 0
	}
	if word&0xfff00fff == 0xf8100ffe { // MOVD.W R30, -n(RSP)
		return PushFrame, 0
	}
	return Plain, 0
}

// tableLoad says whether a word is the load of a register in front of a jump
// through a jump table: MOVD (Rn)(Rm<<3), R27 (OpARM64JUMPTABLE). The address of
// a function is loaded in other ways.
func tableLoad(word, register uint32) bool {
	return word&0xffe0fc1f == 0xf8607800|register
}

// literal is what an instruction loads relative to its own address (LDR
// literal); a size of 0 bytes is nothing.
func literal(word uint32, addr uint64) (from, size uint64) {
	if word&0x3b000000 != 0x18000000 {
		return 0, 0
	}
	from = addr + uint64(int64(int32(word<<8)>>13)*wordARM64)
	switch vector, size := word>>26&1 == 1, word>>30; {
	case size == 3 && !vector: // PRFM: only a hint
		return 0, 0
	case size == 2 && !vector: // LDRSW
		return from, 4
	default:
		return from, 4 << size
	}
}

// newerARM64 says whether a word is an instruction that arm64asm does not know,
// and the Go assembler does: of Armv8.1 and later. They are in parts of the
// encoding that hold no branches (Arm Architecture Reference Manual, C4.1).
func newerARM64(word uint32) bool {
	switch {
	case word&0x3f200c00 == 0x38200000: // LDADD, LDCLR, LDEOR, LDSET, SWP, LDAPR
	case word&0x3fa07c00 == 0x08a07c00: // CAS
	case word&0xff000000 == 0xce000000: // SHA512, SHA3
	case word&0xfff8f01f == 0xd500401f: // MSR to a field of PSTATE: DIT
	default:
		return false
	}
	return true
}
