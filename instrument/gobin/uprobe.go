package gobin

import "bytes"

// uprobe says what the kernel does with a uprobe on an instruction: whether it
// emulates it, or why it refuses it. The rules are those of
// arch/x86/kernel/uprobes.c (uprobe_init_insn, branch_setup_xol_ops,
// push_setup_xol_ops), the same from 6.1 to 6.18 but for NOPs of more than one
// byte, which are emulated from 6.18 on and single-stepped before.
func uprobe(code []byte, nop bool) (emulated bool, refused string) {
	opcode, operandSize := 0, false
	for ; opcode < len(code); opcode++ {
		switch code[opcode] {
		case 0x26, 0x2e, 0x36, 0x3e:
			return false, "segment prefix"
		case 0xf0:
			return false, "LOCK prefix"
		case 0x66:
			operandSize = true
			continue
		case 0x64, 0x65, 0x67, 0xf2, 0xf3:
			continue
		}
		break
	}
	rex := byte(0)
	if opcode < len(code) && code[opcode]&0xf0 == 0x40 {
		rex = code[opcode]
		opcode++
	}
	if opcode >= len(code) {
		return false, "no opcode"
	}
	op := code[opcode:]
	if reason := refusal(op); reason != "" {
		return false, reason
	}
	if nop {
		return plainNop(code), ""
	}
	if branch(op) {
		if operandSize {
			return false, "branch with an operand-size prefix"
		}
		return true, ""
	}
	push := op[0]&0xf8 == 0x50
	return push && (len(code) == 1 || len(code) == 2 && rex == 0x41), ""
}

// branch says whether the opcode is a relative jump, conditional jump or call.
func branch(op []byte) bool {
	switch {
	case op[0] == 0xe8, op[0] == 0xe9, op[0] == 0xeb, op[0]&0xf0 == 0x70:
		return true
	}
	return op[0] == 0x0f && len(op) > 1 && op[1]&0xf0 == 0x80
}

// plainNop says whether code is the NOP of its length that the kernel itself
// uses (x86_nops), up to 8 bytes.
func plainNop(code []byte) bool {
	for _, nop := range []string{
		"\x90",
		"\x66\x90",
		"\x0f\x1f\x00",
		"\x0f\x1f\x40\x00",
		"\x0f\x1f\x44\x00\x00",
		"\x66\x0f\x1f\x44\x00\x00",
		"\x0f\x1f\x80\x00\x00\x00\x00",
		"\x0f\x1f\x84\x00\x00\x00\x00\x00",
	} {
		if bytes.Equal(code, []byte(nop)) {
			return true
		}
	}
	return false
}

// refusal is why the kernel does not take an opcode; empty where it does. The
// kernel looks up VEX and EVEX instructions by the opcode behind their prefix.
func refusal(op []byte) string {
	prefix := 0
	switch op[0] {
	case 0xc5:
		prefix = 2
	case 0xc4:
		prefix = 3
	case 0x62:
		prefix = 4
	case 0x0f:
		if len(op) < 2 {
			return "invalid"
		}
		return twoByteRefusal(op[1])
	}
	if len(op) <= prefix {
		return "invalid"
	}
	return oneByteRefusal(op[prefix:])
}

// oneByteRefusal goes by the kernel's good_insns_64.
func oneByteRefusal(op []byte) string {
	switch op[0] {
	case 0xcc, 0xcd, 0xce, 0xcf, 0xf1:
		return "interrupt"
	case 0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0xf4, 0xfa, 0xfb:
		return "privileged"
	case 0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
		0x60, 0x61, 0x62, 0x82, 0x9a, 0xd4, 0xd5, 0xd6, 0xea:
		return "invalid"
	case 0x8e:
		if len(op) > 1 && op[1]>>3&7 == 2 {
			return "load of the stack segment"
		}
	}
	return ""
}

// twoByteRefusal goes by the kernel's good_2byte_insns. The kernel means to
// refuse these, though its code lets every two-byte opcode pass (0x0f itself is
// in the table of one-byte opcodes): no site of ours has any business there.
func twoByteRefusal(op byte) string {
	switch op {
	case 0x05, 0x34:
		return "system call"
	case 0x00, 0x01, 0x06, 0x07, 0x08, 0x09, 0x30, 0x35, 0x37, 0x78, 0x79:
		return "system instruction"
	case 0x0b:
		return "undefined"
	case 0x0a, 0x0c, 0x36, 0x39:
		return "invalid"
	}
	return ""
}
