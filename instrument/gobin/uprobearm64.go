package gobin

// uprobeARM64 says what the kernel does with a uprobe on an instruction: whether
// it simulates it, or why it refuses it. The rules are those of
// arm_probe_decode_insn (arch/arm64/kernel/probes/decode-insn.c), the same from
// 5.10 to 7.0 but for NOP, which is simulated from 6.13 on and single-stepped
// before, and for loads of constants, which are refused from 6.12 on: before, the
// kernel dereferenced the program's address itself.
func uprobeARM64(word uint32) (emulated bool, refused string) {
	switch {
	case word&0x1f000000 == 0x10000000: // ADR, ADRP
		return true, ""
	case word&0x3b000000 == 0x18000000:
		return false, "load of a constant relative to the instruction"
	case word&0x3f800000 == 0x08000000:
		return false, "exclusive load or store"
	case word&0x3b200c00 == 0x19000400:
		return false, "memory copy"
	case word&0x1c000000 != 0x14000000: // all others but branches and system instructions
		return false, ""
	case word&0x7c000000 == 0x14000000, // B, BL
		word&0xff000010 == 0x54000000, // B.cond
		word&0x7c000000 == 0x34000000, // CBZ, CBNZ, TBZ, TBNZ
		word&0xff9ffc1f == 0xd61f0000: // BR, BLR, RET
		return true, ""
	case word&0xfe000000 == 0xd6000000:
		return false, "branch with pointer authentication"
	case word&0xff000000 == 0xd4000000:
		return false, "exception"
	case word&0xfff8f01f == 0xd500401f, word&0xfff00000 == 0xd5100000:
		return false, "write of a system register"
	case word&0xfffff01f == 0xd503201f && !steppableHint(word>>5&0x7f):
		return false, "hint"
	}
	return false, ""
}

// steppableHint goes by the kernel's aarch64_insn_is_steppable_hint: NOP, pointer
// authentication, and BTI.
func steppableHint(hint uint32) bool {
	switch hint {
	case 0, 7, 8, 10, 12, 14, 24, 25, 26, 27, 28, 29, 30, 31, 32, 34, 36, 38:
		return true
	}
	return false
}
