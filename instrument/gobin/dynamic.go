package gobin

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// What the loader reads of a file (elf(5), PT_DYNAMIC) is there without any
// section headers.

// A relocation is one Elf64_Rela.
type relocation struct {
	place  uint64
	kind   uint32
	symbol uint32
	addend int64
}

// relocations calls each for the relocations that the loader applies.
func (f *File) relocations(each func(relocation) error) error {
	const entry = 24 // an Elf64_Rela
	for _, table := range f.relocationTables() {
		buffer := make([]byte, min(table.size(), 2048*entry))
		for at := table.start; at+entry <= table.end; at += uint64(len(buffer)) {
			buffer = buffer[:min(uint64(len(buffer)), table.end-at)/entry*entry]
			if err := f.ReadAddr(buffer, at); err != nil {
				return fmt.Errorf("read relocations: %w", err)
			}
			for r := buffer; len(r) >= entry; r = r[entry:] {
				info := binary.LittleEndian.Uint64(r[8:])
				err := each(relocation{
					place:  binary.LittleEndian.Uint64(r),
					kind:   uint32(info),
					symbol: uint32(info >> 32),
					addend: int64(binary.LittleEndian.Uint64(r[16:])),
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// relocationTables are where DT_RELA and DT_JMPREL are.
func (f *File) relocationTables() []span {
	var tables []span
	for _, tags := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ}, {elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		start, size := f.dynamicValue(tags[0]), f.dynamicValue(tags[1])
		if s, ok := f.segment(start); ok && start != 0 && size <= s.size-(start-s.addr) {
			tables = append(tables, span{start, start + size})
		}
	}
	return tables
}

// dynamicValue is the value of a tag in the dynamic section, or 0. (elf.File
// would find it by its section only.)
func (f *File) dynamicValue(tag elf.DynTag) uint64 {
	const entry, maxEntries = 16, 4096
	for _, p := range f.elf.Progs {
		if p.Type != elf.PT_DYNAMIC {
			continue
		}
		data := make([]byte, min(p.Filesz, entry*maxEntries))
		if f.readOffset(data, p.Off) != nil {
			return 0
		}
		for ; len(data) >= entry; data = data[entry:] {
			switch elf.DynTag(int64(binary.LittleEndian.Uint64(data))) {
			case tag:
				return binary.LittleEndian.Uint64(data[8:])
			case elf.DT_NULL:
				return 0
			}
		}
	}
	return 0
}

// dynamicSymbol is the value of a symbol that this file defines.
func (f *File) dynamicSymbol(index uint32) (uint64, error) {
	if index == 0 {
		return 0, nil
	}
	var symbol [elf.Sym64Size]byte
	if err := f.ReadAddr(symbol[:], f.dynamicValue(elf.DT_SYMTAB)+uint64(index)*elf.Sym64Size); err != nil {
		return 0, fmt.Errorf("read a dynamic symbol: %w", err)
	}
	if elf.SectionIndex(binary.LittleEndian.Uint16(symbol[6:])) == elf.SHN_UNDEF {
		return 0, errors.New("another file has it")
	}
	return binary.LittleEndian.Uint64(symbol[8:]), nil
}
