package gobin

import (
	"debug/elf"
	"fmt"
	"runtime/debug"
	"slices"
)

// refuseCompressed refuses what UPX made: its code is nowhere in the file.
func (f *File) refuseCompressed() error {
	if !f.compressed() {
		return nil
	}
	return fmt.Errorf("%s is compressed (UPX): its code is unpacked into memory where no probe can be placed: "+
		"decompress it (upx -d %s) and run that", f.Path, f.Path)
}

// refuseLibrary refuses what is no program of its own.
func (f *File) refuseLibrary() error {
	if !f.sharedLibrary() {
		return nil
	}
	return fmt.Errorf("%s is a shared library (-buildmode=c-shared or plugin): it runs in processes of other "+
		"executables, and only executables can be traced: link its code into the program "+
		"(a Go program imports it, a C program is linked with -buildmode=c-archive)", f.Path)
}

// sharedLibrary says whether the file is loaded by others: the go command says
// how it built it; else it is position-independent, asks for no loader, and the
// linker has not marked it as a program.
func (f *File) sharedLibrary() bool {
	var settings []debug.BuildSetting
	if f.Info != nil { // which plugins of Go 1.18 have not got
		settings = f.Info.Settings
	}
	for _, setting := range settings {
		if setting.Key != "-buildmode" {
			continue
		}
		switch setting.Value {
		case "c-shared", "plugin", "shared":
			return true
		case "exe", "pie":
			return false
		}
	}
	if !f.PIE || elf.DynFlag1(f.dynamicValue(elf.DT_FLAGS_1))&elf.DF_1_PIE != 0 {
		return false
	}
	return !slices.ContainsFunc(f.elf.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// compressed recognises what UPX leaves: behind the program headers a l_info
// (src/stub/src/include/linux.h of UPX) with its magic number.
func (f *File) compressed() bool {
	const headerSize, programSize, checksum = 64, 56, 4
	var magic [4]byte
	at := headerSize + programSize*uint64(len(f.elf.Progs)) + checksum
	return len(f.elf.Sections) == 0 && f.readOffset(magic[:], at) == nil && string(magic[:]) == "UPX!"
}

// errObfuscated is what there is to say of a file whose names or version were
// taken away on purpose: what must not be probed is known by its name.
func (f *File) errObfuscated(what string) error {
	return fmt.Errorf("%s was obfuscated (garble, or its like): %s, without which no probe is safe: trace a build that is not obfuscated", f.Path, what)
}

// checkNames refuses a file whose runtime has lost its names.
func (f *File) checkNames() error {
	wanted := map[string]bool{"runtime.mcall": true, "runtime.systemstack": true, "runtime.goexit": true, "runtime.newstack": true}
	for i := range f.funcs {
		delete(wanted, f.funcs[i].Symbol)
	}
	if len(wanted) == 0 {
		return nil
	}
	return f.errObfuscated("the functions of its runtime cannot be told by their names")
}
