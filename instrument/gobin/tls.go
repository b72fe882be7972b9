package gobin

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// tlsOffset reads where g lies relative to the thread pointer out of the code of
// assembly functions that load it first thing. The assembler writes
//
//	MOVQ FS:-8, R14                 in an executable at a fixed address
//	MOVQ $-8, R14; MOVQ FS:(R14)    in a position-independent one
//	MOVQ g@GOTTPOFF(RIP), R14; …    where a C linker is to say it
//
// (cmd/internal/obj/x86/obj6.go). C linkers mostly turn the third into the second.
func (f *File) tlsOffset() (int64, error) {
	for _, name := range []string{"runtime.call16", "runtime.call32", "runtime.asmcgocall"} {
		for i := range f.funcs {
			fn := &f.funcs[i]
			if fn.Symbol != name || !fn.Assembly {
				continue
			}
			code, err := f.readAlloc(fn.Entry, min(64, fn.End-fn.Entry))
			if err != nil {
				return 0, err
			}
			offset, slot, err := decodeTLS(code, fn.Entry)
			if err == nil && slot != 0 {
				offset, err = f.threadOffset(slot)
			}
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			return offset, nil
		}
	}
	return 0, errors.New("none of the functions that load it is there")
}

// decodeTLS finds the first load through FS: its offset, or the address of the
// word in the global offset table that has it.
func decodeTLS(code []byte, addr uint64) (offset int64, slot uint64, err error) {
	var before x86asm.Inst
	for len(code) > 0 {
		inst, err := x86asm.Decode(code, 64)
		if err != nil {
			break
		}
		if mem, ok := inst.Args[1].(x86asm.Mem); ok && inst.Op == x86asm.MOV && mem.Segment == x86asm.FS {
			if mem.Index != 0 {
				break
			}
			if mem.Base == 0 {
				return int64(int32(mem.Disp)), 0, nil
			}
			if before.Op != x86asm.MOV || before.Args[0] != x86asm.Arg(mem.Base) {
				break
			}
			switch source := before.Args[1].(type) {
			case x86asm.Imm:
				return int64(int32(source)) + int64(int32(mem.Disp)), 0, nil
			case x86asm.Mem:
				if source.Base == x86asm.RIP && mem.Disp == 0 {
					return 0, addr + uint64(int64(int32(source.Disp))), nil // behind it, where addr is
				}
			}
			break
		}
		before = inst
		code = code[inst.Len:]
		addr += uint64(inst.Len)
	}
	return 0, 0, errors.New("no load through FS that is understood")
}

// threadOffset is what the loader leaves in a word of the global offset table of
// an executable: the linker has put it there, or a relocation (R_X86_64_TPOFF64)
// says of which symbol it is. The executable's own thread-local storage ends at
// the thread pointer (Drepper, ELF Handling For Thread-Local Storage, variant II).
func (f *File) threadOffset(slot uint64) (int64, error) {
	var word [8]byte
	if err := f.ReadAddr(word[:], slot); err != nil {
		return 0, err
	}
	value := int64(binary.LittleEndian.Uint64(word[:]))
	err := f.relocations(func(r relocation) error {
		if r.place != slot {
			return nil
		}
		if kind := elf.R_X86_64(r.kind); kind != elf.R_X86_64_TPOFF64 {
			return fmt.Errorf("a relocation of type %s at %#x, where its place has to be", kind, slot)
		}
		size, err := f.threadStorage()
		if err != nil {
			return err
		}
		symbol, err := f.dynamicSymbol(r.symbol)
		if err != nil {
			return err
		}
		value = int64(symbol) + r.addend - size
		return nil
	})
	if err != nil {
		return 0, err
	}
	if value >= 0 || value < -1<<20 || value%8 != 0 {
		return 0, fmt.Errorf("%d, as %#x says, is no place that it can have", value, slot)
	}
	return value, nil
}

// threadStorage is the size of the executable's thread-local storage with what
// aligns it.
func (f *File) threadStorage() (int64, error) {
	const maxSize, maxAlign = 1 << 20, 1 << 12
	for _, p := range f.elf.Progs {
		if p.Type != elf.PT_TLS {
			continue
		}
		align := max(p.Align, 1)
		if p.Memsz > maxSize || align > maxAlign || p.Vaddr%align != 0 {
			return 0, fmt.Errorf("thread-local storage of %d bytes at %#x, aligned to %d", p.Memsz, p.Vaddr, align)
		}
		return int64((p.Memsz + align - 1) / align * align), nil
	}
	return 0, errors.New("it has no thread-local storage")
}
