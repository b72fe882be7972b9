package gobin

import (
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// Body decodes the code of fn.
func (f *File) Body(fn *Function) (*Body, error) {
	if fn.End < fn.Entry {
		return nil, fmt.Errorf("decode %s: it ends before it begins", fn.Symbol)
	}
	code, err := f.readAlloc(fn.Entry, fn.End-fn.Entry)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", fn.Symbol, err)
	}
	return decode(code, fn.Entry), nil
}

// decode decodes until the end or until the first byte that it does not know.
func decode(code []byte, addr uint64) *Body {
	const int3 = 0xcc
	for len(code) > 1 && code[len(code)-1] == int3 {
		code = code[:len(code)-1]
	}
	body := &Body{Instructions: make([]Instruction, 0, len(code)/4+1)}
	for len(code) > 0 {
		inst, err := x86asm.Decode(code, 64)
		if err != nil || inst.Len <= 0 || inst.Len > len(code) {
			body.Undecoded = addr
			break
		}
		body.Instructions = append(body.Instructions, instruction(inst, code[:inst.Len:inst.Len], addr))
		code = code[inst.Len:]
		addr += uint64(inst.Len)
	}
	return body
}

func instruction(inst x86asm.Inst, code []byte, addr uint64) Instruction {
	in := Instruction{Addr: addr, Bytes: code}
	in.Kind, in.Target = kind(inst, addr)
	if in.Kind == Plain && len(code) == 1 && code[0] == 0x55 {
		in.Kind = PushFrame
	}
	in.Emulated, in.Refused = uprobe(code, in.Kind == Nop)
	return in
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
