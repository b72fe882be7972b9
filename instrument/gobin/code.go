package gobin

import (
	"fmt"
	"sort"

	"golang.org/x/arch/x86/x86asm"
)

// Body decodes the code of fn.
func (f *File) Body(fn *Function) (*Body, error) {
	body := &Body{}
	return body, f.Decode(fn, body)
}

// Decode decodes the code of fn into body, whose memory it uses again. The bytes
// of the instructions must not be modified, and keep more in memory than
// themselves.
func (f *File) Decode(fn *Function, body *Body) error {
	if fn.End < fn.Entry {
		return fmt.Errorf("decode %s: it ends before it begins", fn.Symbol)
	}
	code, err := f.view(fn.Entry, fn.End-fn.Entry)
	if err != nil {
		return fmt.Errorf("decode %s: %w", fn.Symbol, err)
	}
	if f.Arch == ARM64 {
		body.decodeARM64(code, fn.Entry)
		return nil
	}
	body.decode(code, fn.Entry)
	return nil
}

// decode decodes amd64 code until the end or until the first byte that it does
// not know.
func (body *Body) decode(code []byte, addr uint64) {
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

// distrust takes back what cannot be right: where a jump leads into the middle
// of an instruction, or to a constant, one of the two was not decoded as the
// processor does.
func (body *Body) distrust(end uint64) {
	if len(body.Instructions) == 0 {
		return
	}
	entry, first := body.Instructions[0].Addr, len(body.Instructions)
	for _, in := range body.Instructions {
		if first == 0 {
			break
		}
		if in.Kind != Jump && in.Kind != CondJump || in.Target < entry || in.Target >= end {
			continue
		}
		i := sort.Search(first, func(i int) bool { return body.Instructions[i].Addr > in.Target }) - 1
		at := body.Instructions[i]
		if at.Addr != in.Target && in.Target-at.Addr < uint64(len(at.Bytes)) || at.Kind == Data {
			first = i
		}
	}
	if first < len(body.Instructions) {
		body.Undecoded = body.Instructions[first].Addr
		body.Instructions = body.Instructions[:first]
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
