package gobin

import "golang.org/x/arch/x86/x86asm"

// An access goes through a pointer: to the word at an offset from it.
type access struct {
	at     int // index of the instruction
	inst   x86asm.Inst
	offset uint64
	into   x86asm.Reg // what a load loads
}

// loads says that the access loads a whole word into a register.
func (u access) loads() bool { return u.inst.Op == x86asm.MOV && u.into != 0 && u.inst.MemBytes == 8 }

// compares says that the access compares a whole word with a constant.
func (u access) compares(with int64) bool {
	constant, ok := u.inst.Args[1].(x86asm.Imm)
	return ok && u.inst.Op == x86asm.CMP && int64(constant) == with && u.inst.MemBytes == 8
}

// usesOf lists, in the order of the code, what is accessed through the pointer
// that a register holds when the code begins, but for the stack check. It follows copies into other
// registers and onto the stack and back; a call leaves it on the stack only, and
// in R14, which holds the current g all along.
func usesOf(code []x86asm.Inst, register x86asm.Reg) []access {
	registers := map[x86asm.Reg]bool{register: true}
	slots := make(map[int64]bool)
	var uses []access
	for i, inst := range code {
		for n, arg := range inst.Args {
			m, ok := memory(arg)
			if !ok || !registers[m.Base] || checksStack(inst) {
				continue
			}
			u := access{at: i, inst: inst, offset: uint64(m.Disp)}
			if n == 1 {
				u.into, _ = inst.Args[0].(x86asm.Reg)
			}
			uses = append(uses, u)
		}
		switch {
		case inst.Op == x86asm.CALL:
			for r := range registers {
				if r != x86asm.R14 {
					delete(registers, r)
				}
			}
		case inst.Op == x86asm.MOV && inst.DataSize == 64:
			move(inst, registers, slots)
		default:
			if r, ok := inst.Args[0].(x86asm.Reg); ok && !reads(inst.Op) {
				delete(registers, wide(r))
			}
		}
	}
	return uses
}

// checksStack recognises CMPQ SP, stackguard0(R14), which begins a prologue.
func checksStack(inst x86asm.Inst) bool {
	return inst.Op == x86asm.CMP && inst.Args[0] == x86asm.Arg(x86asm.RSP)
}

// move follows a MOVQ.
func move(inst x86asm.Inst, registers map[x86asm.Reg]bool, slots map[int64]bool) {
	held := false
	switch from := inst.Args[1].(type) {
	case x86asm.Reg:
		held = registers[from]
	case x86asm.Mem:
		held = from.Base == x86asm.RSP && from.Index == 0 && slots[from.Disp]
	}
	switch to := inst.Args[0].(type) {
	case x86asm.Reg:
		if held {
			registers[to] = true
		} else {
			delete(registers, to)
		}
	case x86asm.Mem:
		if to.Base == x86asm.RSP && to.Index == 0 {
			slots[to.Disp] = held
		}
	}
}

// reads says that an instruction does not write its first operand.
func reads(op x86asm.Op) bool {
	switch op {
	case x86asm.CMP, x86asm.TEST, x86asm.BT, x86asm.PUSH, x86asm.JMP:
		return true
	}
	return false
}

// wide is the register that a part of it belongs to.
func wide(r x86asm.Reg) x86asm.Reg {
	switch {
	case r >= x86asm.AL && r <= x86asm.BL:
		return r - x86asm.AL + x86asm.RAX
	case r >= x86asm.AH && r <= x86asm.BH:
		return r - x86asm.AH + x86asm.RAX
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return r - x86asm.SPB + x86asm.RSP
	case r >= x86asm.AX && r <= x86asm.R15W:
		return r - x86asm.AX + x86asm.RAX
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return r - x86asm.EAX + x86asm.RAX
	}
	return r
}

// memory is an operand in memory that a base register and an offset name.
func memory(arg x86asm.Arg) (x86asm.Mem, bool) {
	m, ok := arg.(x86asm.Mem)
	return m, ok && m.Base != 0 && m.Base != x86asm.RIP && m.Index == 0 && m.Segment == 0
}
