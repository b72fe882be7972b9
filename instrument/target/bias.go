package target

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// LoadBias is what has to be added to a link time address of the executable to
// have the address in the process: zero unless the executable is position
// independent.
//
// It is the difference between the entry point that the kernel passed to the
// process (AT_ENTRY in /proc/PID/auxv, create_elf_tables in fs/binfmt_elf.c) and
// the one in the ELF header. Unlike /proc/PID/maps that needs no comparison of
// devices, which overlayfs and btrfs report differently there than stat does.
// A process that ends, or executes something, at this moment is ErrNoProcess.
func (p *Process) LoadBias() (uint64, error) {
	bias, err := p.loadBias()
	if err != nil {
		return 0, fmt.Errorf("load bias of process %d: %w", p.pid, err)
	}
	return bias, nil
}

func (p *Process) loadBias() (uint64, error) {
	f, err := p.openExe()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var header [64]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return 0, fmt.Errorf("read the ELF header: %w", err)
	}
	if !isELF64(header[:]) {
		return 0, errors.New("the executable is not a 64-bit little-endian ELF file")
	}
	auxv, err := os.ReadFile(procPath(p.pid, "auxv"))
	if err != nil {
		return 0, p.vanished(err)
	}
	entry, ok := auxValue(auxv, atEntry)
	if !ok {
		// In the middle of exec or exit there is none: what it ran is gone.
		return 0, fmt.Errorf("%w: no entry point in /proc/PID/auxv", ErrNoProcess)
	}
	return entry - binary.LittleEndian.Uint64(header[elfEntry:]), nil
}

// atEntry is AT_ENTRY (getauxval(3)).
const atEntry = 9

// auxValue returns one value of an auxiliary vector: pairs of 64-bit words that
// end with a pair of type AT_NULL.
func auxValue(vector []byte, kind uint64) (value uint64, ok bool) {
	for ; len(vector) >= 16; vector = vector[16:] {
		switch binary.LittleEndian.Uint64(vector) {
		case kind:
			return binary.LittleEndian.Uint64(vector[8:]), true
		case 0:
			return 0, false
		}
	}
	return 0, false
}

// elfEntry is the offset of e_entry in an Elf64_Ehdr (elf(5)).
const elfEntry = 24

// isELF64 says whether a header is that of a 64-bit little-endian ELF file.
func isELF64(header []byte) bool {
	return len(header) >= 64 && string(header[:6]) == "\x7fELF\x02\x01"
}
