package gobin

import "encoding/binary"

// frequent decodes the instructions that nearly all of compiled code consists
// of, some fifty times as fast as x86asm does, which makes the text of every
// operand: a plan decodes megabytes of code. ok is false for all that it does
// not know, which x86asm has to decode then; what it knows it takes for the same
// (Intel SDM volume 2, appendix A; TestFrequent and FuzzFrequent compare).
func frequent(code []byte, addr uint64) (in Instruction, ok bool) {
	const maxLength = 15
	var e encoding
	at := e.prefixes(code)
	if at >= len(code) {
		return in, false
	}
	e.opcode = code[at]
	at++
	var o operands
	if e.opcode == 0x0f {
		if at >= len(code) {
			return in, false
		}
		e.opcode = code[at]
		at++
		o, ok = e.twoByte()
	} else {
		o, ok = e.oneByte()
	}
	if !ok {
		return in, false
	}
	if o.modRM {
		if at >= len(code) {
			return in, false
		}
		reg := code[at] >> 3 & 7
		if o.fields&(1<<reg) == 0 || o.memory && code[at]>>6 == 3 {
			return in, false
		}
		if o.group3 && reg == 0 { // TEST has an immediate operand, its group not
			o.immediate = 1
			if e.opcode&1 != 0 {
				o.immediate = e.wordSize()
			}
		}
		if at += modRMLength(code[at:]); at > len(code) {
			return in, false
		}
	}
	at += o.immediate
	if at > len(code) || at > maxLength {
		return in, false
	}
	in = Instruction{Addr: addr, Bytes: code[:at:at], Kind: o.kind}
	switch o.kind {
	case Jump, CondJump, Call:
		offset := int64(int8(code[at-1]))
		if o.immediate == 4 {
			offset = int64(int32(binary.LittleEndian.Uint32(code[at-4:])))
		}
		in.Target = addr + uint64(at) + uint64(offset)
	}
	return in, true
}

// An encoding is what stands in front of the operands.
type encoding struct {
	prefix byte // 66, F2 or F3; 0: none
	rex    byte
	opcode byte
}

// prefixes reads at most one prefix and a REX, and returns their length.
func (e *encoding) prefixes(code []byte) int {
	at := 0
	if at < len(code) && (code[at] == 0x66 || code[at] == 0xf2 || code[at] == 0xf3) {
		e.prefix = code[at]
		at++
	}
	if at < len(code) && code[at]&0xf0 == 0x40 {
		e.rex = code[at]
		at++
	}
	return at
}

// wide says that operands have 64 bits (REX.W).
func (e *encoding) wide() bool { return e.rex&8 != 0 }

// wordSize is the size of an immediate operand that is no byte.
func (e *encoding) wordSize() int {
	if e.prefix == 0x66 && !e.wide() {
		return 2
	}
	return 4
}

// operands are what follows an opcode.
type operands struct {
	kind  Kind
	modRM bool
	// fields has a bit for each value of ModRM.reg that is accepted, memory says
	// that a register is no operand.
	fields    byte
	memory    bool
	immediate int // bytes
	// group3 says that the immediate operand depends on ModRM.reg.
	group3 bool
}

const allFields = 0xff

func (e *encoding) oneByte() (operands, bool) {
	op := e.opcode
	modRM := operands{modRM: true, fields: allFields}
	switch {
	case e.prefix == 0xf2 || e.prefix == 0xf3:
		return operands{}, false
	case op < 0x40: // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP
		switch op & 7 {
		case 0, 1, 2, 3:
			return modRM, op != 0x26 && op != 0x2e && op != 0x36 && op != 0x3e
		case 4:
			return operands{immediate: 1}, true
		case 5:
			return operands{immediate: e.wordSize()}, true
		}
		return operands{}, false
	case op >= 0x84 && op <= 0x8b, op == 0x63: // TEST, XCHG, MOV, MOVSXD
		return modRM, op != 0x63 || e.wide()
	case op == 0x8d: // LEA
		modRM.memory = true
		return modRM, true
	case op == 0x80, op == 0x83, op == 0xc0, op == 0xc1: // ADD …, shifts by a number
		modRM.immediate = 1
		if op >= 0xc0 {
			modRM.fields &^= 1 << 6
		}
		return modRM, true
	case op == 0x81:
		modRM.immediate = e.wordSize()
		return modRM, true
	case op >= 0xd0 && op <= 0xd3: // shifts
		modRM.fields &^= 1 << 6
		return modRM, true
	case op == 0xc6, op == 0xc7: // MOV of a number
		modRM.fields, modRM.immediate = 1, 1
		if op == 0xc7 {
			modRM.immediate = e.wordSize()
		}
		return modRM, true
	case op == 0xf6, op == 0xf7: // TEST, NOT, NEG, MUL, IMUL, DIV, IDIV
		modRM.fields &^= 1 << 1
		modRM.group3 = true
		return modRM, true
	case op == 0xfe, op == 0xff: // INC, DEC; the rest of FF are calls and jumps
		modRM.fields = 3
		return modRM, true
	case op == 0x69: // IMUL
		modRM.immediate = e.wordSize()
		return modRM, true
	case op == 0x6b:
		modRM.immediate = 1
		return modRM, true
	case op == 0xa8: // TEST AL, AX
		return operands{immediate: 1}, true
	case op == 0xa9:
		return operands{immediate: e.wordSize()}, true
	case op >= 0xb0 && op <= 0xb7: // MOV to a register
		return operands{immediate: 1}, true
	case op >= 0xb8 && op <= 0xbf && e.prefix == 0:
		if e.wide() {
			return operands{immediate: 8}, true
		}
		return operands{immediate: 4}, true
	case e.prefix != 0:
		return operands{}, false
	case op >= 0x50 && op <= 0x5f: // PUSH, POP
		if op == 0x55 && e.rex == 0 {
			return operands{kind: PushFrame}, true
		}
		return operands{}, true
	case op == 0x99: // CDQ, CQO
		return operands{}, true
	case e.rex != 0:
		return operands{}, false
	case op >= 0x70 && op <= 0x7f:
		return operands{kind: CondJump, immediate: 1}, true
	case op == 0x90:
		return operands{kind: Nop}, true
	case op == 0xc3:
		return operands{kind: Return}, true
	case op == 0xcc:
		return operands{kind: Trap}, true
	case op == 0xe8:
		return operands{kind: Call, immediate: 4}, true
	case op == 0xe9:
		return operands{kind: Jump, immediate: 4}, true
	case op == 0xeb:
		return operands{kind: Jump, immediate: 1}, true
	}
	return operands{}, false
}

func (e *encoding) twoByte() (operands, bool) {
	op := e.opcode
	modRM := operands{modRM: true, fields: allFields}
	bare, operandSize := e.prefix == 0, e.prefix == 0x66
	switch {
	case op == 0x10, op == 0x11, op == 0x51, op >= 0x58 && op <= 0x59, op >= 0x5c && op <= 0x5f:
		return modRM, true // MOVUPS, MOVSD, SQRTSD, ADDSD, MULSD, SUBSD, …
	case op == 0x5a: // CVTSS2SD, CVTSD2SS
		return modRM, !bare && !operandSize
	case op == 0x28, op == 0x29, op == 0x2e, op == 0x2f, op >= 0x54 && op <= 0x57: // MOVAPS, UCOMISD, XORPS, …
		return modRM, bare || operandSize
	case op == 0x2a, op == 0x2c, op == 0x2d: // conversions
		return modRM, !bare && !operandSize
	case op == 0x6f, op == 0x7f: // MOVDQU
		return modRM, !bare && e.prefix != 0xf2
	case op == 0x6e, op == 0xef, op == 0xd6: // MOVQ, PXOR
		return modRM, operandSize && (op != 0xd6 || !e.wide())
	case op == 0x7e:
		return modRM, operandSize || e.prefix == 0xf3
	case op >= 0x40 && op <= 0x4f, op == 0xaf, // CMOV, IMUL
		op == 0xb6, op == 0xb7, op == 0xbe, op == 0xbf, // MOVZX, MOVSX
		op == 0xa3, op == 0xab, op == 0xb3, op == 0xbb: // BT, BTS, BTR, BTC
		return modRM, bare || operandSize
	case op >= 0x90 && op <= 0x9f: // SETcc
		return modRM, bare
	case op == 0xba:
		modRM.fields, modRM.immediate = 0xf0, 1
		return modRM, bare || operandSize
	case op == 0x1f:
		modRM.kind, modRM.fields = Nop, 1
		return modRM, (bare || operandSize) && !e.wide()
	case op >= 0x80 && op <= 0x8f:
		return operands{kind: CondJump, immediate: 4}, bare && e.rex == 0
	}
	return operands{}, false
}

// modRMLength is the length of a ModRM byte with what follows it: SIB and
// displacement. It is longer than code where that is cut off.
func modRMLength(code []byte) int {
	length, mod, base := 1, code[0]>>6, code[0]&7
	if mod != 3 && base == 4 {
		if len(code) < 2 {
			return 2
		}
		length, base = 2, code[1]&7
	}
	switch {
	case mod == 1:
		length++
	case mod == 2, mod == 0 && base == 5:
		length += 4
	}
	return length
}
