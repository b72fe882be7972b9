package gobin

import (
	"debug/elf"
	"io"
	"slices"
	"strings"
)

// Footprint is roughly how much memory the making of a plan takes of the file
// that r reads, in bytes: its function table and its decompressed DWARF, mostly.
// It reads the ELF headers alone, and is 0 where they cannot be read.
func Footprint(r io.ReaderAt) uint64 {
	const base = 24 << 20
	file, err := elf.NewFile(r)
	if err != nil {
		return 0
	}
	size := uint64(base)
	for _, s := range file.Sections {
		name := strings.TrimPrefix(strings.TrimPrefix(s.Name, ".debug_"), ".zdebug_")
		switch {
		case strings.HasSuffix(s.Name, ".gopclntab"):
			size += s.Size / 2 * 3
		case name != s.Name && slices.Contains(debugSections[:], name):
			size += s.Size * 2
		}
	}
	return size
}
