package gobin

// x86asm does not know all of the opcode maps that came after SSE2, and has
// wrong lengths for some that it knows (VZEROUPPER). In these maps no
// instruction changes the flow of control, and lengths follow from the form of
// the encoding alone (Intel SDM volume 2, chapter 2 and appendix A).

// Opcode maps.
const (
	map0F   = 1
	map0F38 = 2
	map0F3A = 3
	map5    = 5 // EVEX only, as is 6
	map6    = 6
)

// extendedLength is the length of an instruction that begins at code and whose
// opcode is in a map behind VEX or EVEX, or in 0F38 or 0F3A. handled is false
// for instructions of the other maps; length is 0 where one is not known, or is
// cut off.
func extendedLength(code []byte) (length int, handled bool) {
	i := 0
	for i < len(code) && legacyPrefix(code[i]) {
		i++
	}
	if i >= len(code) {
		return 0, false
	}
	var opcodes int
	switch code[i] {
	case 0xc5: // VEX of two bytes
		opcodes, i = map0F, i+2
	case 0xc4: // VEX of three bytes
		if i+1 >= len(code) {
			return 0, true
		}
		opcodes, i = int(code[i+1]&0x1f), i+3
		if opcodes > map0F3A {
			return 0, true
		}
	case 0x62: // EVEX
		if i+1 >= len(code) {
			return 0, true
		}
		opcodes, i = int(code[i+1]&7), i+4
	default:
		if code[i]&0xf0 == 0x40 {
			i++ // REX
		}
		if i+1 >= len(code) || code[i] != 0x0f {
			return 0, false
		}
		switch code[i+1] {
		case 0x38:
			opcodes, i = map0F38, i+2
		case 0x3a:
			opcodes, i = map0F3A, i+2
		default:
			return 0, false
		}
		return operandsLength(code, i, opcodes), true
	}
	return operandsLength(code, i, opcodes), true
}

// operandsLength is the length of the instruction whose opcode is at i: 0 where
// it is not known, or cut off.
func operandsLength(code []byte, i, opcodes int) int {
	const maxLength = 15
	if i >= len(code) {
		return 0
	}
	opcode := code[i]
	i++
	immediate := 0
	switch opcodes {
	case map0F:
		const zeroUpper = 0x77 // and zeroAll: the only ones without operands
		if opcode == zeroUpper {
			return i
		}
		switch opcode {
		case 0x70, 0x71, 0x72, 0x73, 0xc2, 0xc4, 0xc5, 0xc6:
			immediate = 1
		}
	case map0F38, map5, map6:
	case map0F3A:
		immediate = 1
	default:
		return 0
	}
	if i >= len(code) {
		return 0
	}
	modRM := code[i]
	i++
	mod, rm := modRM>>6, modRM&7
	if mod != 3 && rm == 4 {
		if i >= len(code) {
			return 0
		}
		rm = code[i] & 7 // the base in the SIB byte
		i++
	}
	switch {
	case mod == 1:
		i++
	case mod == 2, mod == 0 && rm == 5:
		i += 4
	}
	i += immediate
	if i > len(code) || i > maxLength {
		return 0
	}
	return i
}

func legacyPrefix(b byte) bool {
	switch b {
	case 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3:
		return true
	}
	return false
}
