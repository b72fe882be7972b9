package gobin

import (
	"errors"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// Runtime reads what probes need to know of the Go runtime in the file: offsets
// from its DWARF, else from a table over the versions of Go; the place of g from
// its code.
func (f *File) Runtime() (Runtime, error) {
	r := Runtime{StackHiOffset: 8} // g begins with its stack: {lo, hi}
	goid, err := f.goidFromDWARF()
	r.Source = "dwarf"
	if err != nil {
		known, ok := goidOffset(f.minor)
		if !ok {
			return Runtime{}, fmt.Errorf("the layout of goroutines in %s is not known for %s: build it with DWARF, or update uspan (%w)", f.GoVersion, f.Path, err)
		}
		goid, r.Source = known, "table"
	}
	r.GoidOffset = goid
	if f.Arch == ARM64 {
		return r, nil
	}
	if r.TLSOffset, err = f.tlsOffset(); err != nil {
		return Runtime{}, fmt.Errorf("find the goroutine in %s: %w", f.Path, err)
	}
	return r, nil
}

// goidOffset is the offset of runtime.g.goid by minor version of Go
// (src/runtime/runtime2.go).
func goidOffset(minor int) (uint64, bool) {
	switch minor {
	case 18, 19, 20, 21, 22, 25, 26, 27:
		return 152, true
	case 23, 24:
		return 160, true
	}
	return 0, false
}

// tlsOffset reads where g lies relative to the thread pointer out of the code of
// assembly functions that load it first thing. The assembler writes
//
//	MOVQ FS:-8, R14                 in an executable at a fixed address
//	MOVQ $-8, R14; MOVQ FS:(R14)    in a position-independent one
//	MOVQ g@GOTTPOFF(RIP), R14; …    in a shared library
//
// (cmd/internal/obj/x86/obj6.go).
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
			offset, err := decodeTLS(code)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			return offset, nil
		}
	}
	return 0, errors.New("none of the functions that load it is there")
}

// decodeTLS finds the first load through FS.
func decodeTLS(code []byte) (int64, error) {
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
				return int64(int32(mem.Disp)), nil
			}
			if before.Op != x86asm.MOV || before.Args[0] != x86asm.Arg(mem.Base) {
				break
			}
			switch source := before.Args[1].(type) {
			case x86asm.Imm:
				return int64(int32(source)) + int64(int32(mem.Disp)), nil
			case x86asm.Mem:
				if source.Base == x86asm.RIP {
					return 0, errors.New("its place is known at run time only (general-dynamic or initial-exec TLS of a shared library)")
				}
			}
			break
		}
		before = inst
		code = code[inst.Len:]
	}
	return 0, errors.New("no load through FS that is understood")
}
