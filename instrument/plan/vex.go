package plan

// vectorLength is the length of an instruction with a VEX or EVEX prefix, and
// whether it has one. A length of 0 says that b ends before the instruction.
//
// A decoder that gets one length wrong decodes what follows from the middle of
// an instruction, without an error: golang.org/x/arch v0.32 reads VZEROUPPER
// with a byte too many, and swallows the RET that mostly stands behind it. So a
// body is trusted only where every vector instruction has the length that its
// encoding says (Intel SDM volume 2, 2.3 and 2.7) and is not taken for a branch
// that has the same opcode without the prefix.
func vectorLength(b []byte) (length int, vector bool) {
	if len(b) == 0 {
		return 0, false
	}
	// In 64-bit code these bytes are nothing else, and nothing stands before
	// them but segment and address size prefixes.
	for len(b) > 1 && (b[0] == 0x64 || b[0] == 0x65 || b[0] == 0x67) {
		b, length = b[1:], length+1
	}
	opcodes := 1 // the opcode map: 0F
	var head int
	switch b[0] {
	case 0xc5:
		head = 2
	case 0xc4:
		head = 3
	case 0x62:
		head = 4
	default:
		return 0, false
	}
	if len(b) < head+2 {
		if len(b) == head+1 && b[0] == 0xc5 && b[head] == 0x77 {
			return length + head + 1, true // VZEROUPPER, VZEROALL
		}
		return 0, true
	}
	if head > 2 {
		opcodes = int(b[1] & 0x1f)
		if head == 4 {
			opcodes = int(b[1] & 7)
		}
	}
	op := b[head]
	if opcodes == 1 && op == 0x77 && head < 4 {
		return length + head + 1, true
	}
	n := head + 2 // prefix, opcode, ModRM
	modrm := b[head+1]
	mod, rm := modrm>>6, modrm&7
	base := rm
	if mod != 3 && rm == 4 {
		if len(b) <= n {
			return 0, true
		}
		base = b[n] & 7
		n++
	}
	switch {
	case mod == 1:
		n++
	case mod == 2, mod == 0 && base == 5:
		n += 4
	}
	if opcodes == 3 || opcodes == 1 && (op >= 0x70 && op <= 0x73 || op == 0xc2 || op >= 0xc4 && op <= 0xc6) {
		n++ // an immediate byte
	}
	return length + n, true
}
