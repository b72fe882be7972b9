package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"iter"

	"golang.org/x/arch/x86/x86asm"
)

// goidgen is the link time address of runtime.sched.goidgen, the last number that
// was handed out to a processor for its goroutines; 0 where it is not known.
func (f *File) goidgen() (addr uint64) {
	if f.Arch == AMD64 {
		addr = f.goidgenFromCode()
	}
	if addr == 0 {
		addr = f.goidgenFromSymbols()
	}
	return addr
}

// goidgenFromCode finds the variable in runtime.newproc1, which adds 16 to it at
// once (_GoidCacheBatch in src/runtime/proc.go), and to nothing else:
//
//	MOVL $16, R; LEAQ runtime.sched(SB), S; LOCK XADDQ R, 0(S)
func (f *File) goidgenFromCode() uint64 {
	for i := range f.funcs {
		fn := &f.funcs[i]
		if fn.Symbol != "runtime.newproc1" || fn.Wrapper {
			continue
		}
		code, err := f.readAlloc(fn.Entry, fn.End-fn.Entry)
		if err != nil {
			return 0
		}
		return decodeGoidgen(code, fn.Entry)
	}
	return 0
}

func decodeGoidgen(code []byte, addr uint64) uint64 {
	var batch, base x86asm.Reg // that hold 16, and the address of variable
	var variable uint64
	for len(code) > 0 {
		inst, err := x86asm.Decode(code, 64)
		if err != nil || inst.Len == 0 {
			return 0
		}
		code = code[inst.Len:]
		addr += uint64(inst.Len)
		to, _ := inst.Args[0].(x86asm.Reg)
		from, _ := inst.Args[1].(x86asm.Mem)
		value, constant := inst.Args[1].(x86asm.Imm)
		switch {
		case inst.Op == x86asm.MOV && constant && value == 16 && to != 0:
			batch = wideRegister(to)
		case inst.Op == x86asm.LEA && from.Base == x86asm.RIP:
			base, variable = to, addr+uint64(from.Disp)
		case inst.Op == x86asm.XADD && inst.DataSize == 64:
			at, _ := inst.Args[0].(x86asm.Mem)
			by, _ := inst.Args[1].(x86asm.Reg)
			if by == batch && at.Base == base && at.Disp == 0 && at.Index == 0 && base != 0 {
				return variable
			}
		}
	}
	return 0
}

// wideRegister is the whole of a register of 32 bits.
func wideRegister(r x86asm.Reg) x86asm.Reg {
	if r >= x86asm.EAX && r <= x86asm.R15L {
		return r - x86asm.EAX + x86asm.RAX
	}
	return r
}

// goidgenFromSymbols finds runtime.sched, which begins with it, by its name.
func (f *File) goidgenFromSymbols() uint64 {
	symbols, err := f.elf.Symbols()
	if err != nil {
		return 0
	}
	for i := range symbols {
		if s := &symbols[i]; s.Name == "runtime.sched" && elf.ST_TYPE(s.Info) == elf.STT_OBJECT {
			return s.Value
		}
	}
	return 0
}

// MayCall says whether the code of a function has the bytes of a direct call of
// one of the targets anywhere. It is fast, and true for some that do not call.
func (f *File) MayCall(fn *Function, targets map[uint64]bool) bool {
	if fn.End < fn.Entry {
		return false
	}
	code, err := f.view(fn.Entry, fn.End-fn.Entry)
	if err != nil {
		return false
	}
	if f.Arch == ARM64 {
		for at := 0; at+4 <= len(code); at += 4 {
			word := f.elf.ByteOrder.Uint32(code[at:])
			// BL: 26 bits of distance in words (Arm ARM, C6.2.34).
			if word>>26 == 0x25 && targets[fn.Entry+uint64(at)+uint64(int64(int32(word<<6)>>4))] {
				return true
			}
		}
		return false
	}
	for at := range relativeCalls(code) {
		if targets[fn.Entry+uint64(at)+5+uint64(int64(int32(binary.LittleEndian.Uint32(code[at+1:]))))] {
			return true
		}
	}
	return false
}

// relativeCalls yields where code of amd64 has the bytes of a CALL rel32, whose
// distance is from the next instruction on.
func relativeCalls(code []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; at+5 <= len(code); at++ {
			next := bytes.IndexByte(code[at:len(code)-4], 0xe8)
			if next < 0 {
				return
			}
			if at += next; !yield(at) {
				return
			}
		}
	}
}

// FunctionValue is the entry of the function that the function value at an
// address leads to: its first word.
func (f *File) FunctionValue(addr uint64) (uint64, error) {
	word, err := f.readRelocated(addr, 8)
	if err != nil {
		return 0, err
	}
	return f.elf.ByteOrder.Uint64(word), nil
}
