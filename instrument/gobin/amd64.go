package gobin

import "golang.org/x/arch/x86/x86asm"

// decodeAMD64 decodes until the end or until the first byte that it does not know.
func (body *Body) decodeAMD64(code []byte, addr uint64) {
	const int3 = 0xcc
	*body = Body{Instructions: body.Instructions[:0]}
	if cap(body.Instructions) == 0 {
		body.Instructions = make([]Instruction, 0, len(code)/4+16)
	}
	end := addr + uint64(len(code))
	for len(code) > 0 {
		in, ok := decodeOne(code, addr)
		if !ok {
			body.Undecoded = addr
			break
		}
		body.Instructions = append(body.Instructions, in)
		code = code[len(in.Bytes):]
		addr += uint64(len(in.Bytes))
	}
	body.distrust(end)
	// An INT3 is padding only as an instruction: other instructions may end in
	// that byte, too.
	if body.Undecoded == 0 {
		last := len(body.Instructions) - 1
		for last > 0 && body.Instructions[last].Bytes[0] == int3 {
			last--
		}
		body.Instructions = body.Instructions[:last+1]
	}
}

// decodeOne decodes the instruction that code begins with.
func decodeOne(code []byte, addr uint64) (Instruction, bool) {
	in, ok := frequent(code, addr)
	if !ok {
		in, ok = decodeAny(code, addr)
	}
	if ok {
		in.Emulated, in.Refused = uprobe(in.Bytes, in.Kind == Nop)
	}
	return in, ok
}

func decodeAny(code []byte, addr uint64) (Instruction, bool) {
	if length, ok := extendedLength(code); ok {
		if length == 0 {
			return Instruction{}, false
		}
		return Instruction{Addr: addr, Bytes: code[:length:length]}, true
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil || inst.Op == 0 || inst.Len <= 0 || inst.Len > len(code) {
		return Instruction{}, false
	}
	in := Instruction{Addr: addr, Bytes: code[:inst.Len:inst.Len]}
	in.Kind, in.Target = kind(inst, addr)
	if in.Kind == Plain && len(in.Bytes) == 1 && in.Bytes[0] == 0x55 {
		in.Kind = PushFrame
	}
	return in, true
}

// kind sorts an instruction by what it does to the flow of control.
func kind(inst x86asm.Inst, addr uint64) (Kind, uint64) {
	target, relative := uint64(0), false
	if rel, ok := inst.Args[0].(x86asm.Rel); ok {
		target, relative = addr+uint64(inst.Len)+uint64(int64(rel)), true
	}
	switch inst.Op {
	case x86asm.RET, x86asm.LRET, x86asm.IRET, x86asm.IRETD, x86asm.IRETQ:
		return Return, 0
	case x86asm.JMP, x86asm.LJMP:
		if relative {
			return Jump, target
		}
		if _, ok := inst.Args[0].(x86asm.Reg); ok {
			return JumpRegister, 0
		}
		return JumpMemory, 0
	case x86asm.CALL, x86asm.LCALL:
		if relative {
			return Call, target
		}
		return CallIndirect, 0
	case x86asm.NOP:
		return Nop, 0
	case x86asm.INT, x86asm.INTO, x86asm.UD1, x86asm.UD2, x86asm.ICEBP:
		return Trap, 0
	}
	if relative {
		return CondJump, target // Jcc, JRCXZ, LOOP, XBEGIN
	}
	return Plain, 0
}
