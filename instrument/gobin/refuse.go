package gobin

import "fmt"

// refuse says why a file that may well have been made by Go cannot be traced as
// it is, and what can be done; nil where nothing speaks against it.
func (f *File) refuse() error {
	switch {
	case f.compressed():
		return fmt.Errorf("%s is compressed (UPX): its code is unpacked into memory where no probe can be placed: "+
			"decompress it (upx -d %s) and run that", f.Path, f.Path)
	case f.sharedLibrary():
		return fmt.Errorf("%s is a shared library (-buildmode=c-shared or plugin): it runs in processes of other "+
			"executables, and only executables can be traced: link its code into the program "+
			"(a Go program imports it, a C program is linked with -buildmode=c-archive)", f.Path)
	}
	return nil
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
