package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// A segment is a part of the file that the kernel maps into memory.
type segment struct {
	addr, offset uint64
	size         uint64 // in the file; what memory has beyond it is zero
	writable     bool
	executable   bool
}

// loadSegments lists what is loaded. Go executables have three to six such
// segments; a damaged header could list a file ten thousand times over.
func loadSegments(file *elf.File) []segment {
	const maxSegments = 64
	var segments []segment
	for _, p := range file.Progs {
		if len(segments) == maxSegments {
			break
		}
		if p.Type != elf.PT_LOAD || p.Filesz == 0 || p.Vaddr+p.Filesz < p.Vaddr {
			continue
		}
		segments = append(segments, segment{
			addr:       p.Vaddr,
			offset:     p.Off,
			size:       p.Filesz,
			writable:   p.Flags&elf.PF_W != 0,
			executable: p.Flags&elf.PF_X != 0,
		})
	}
	return segments
}

// segment finds the segment that holds addr in the file.
func (f *File) segment(addr uint64) (segment, bool) {
	for _, s := range f.segments {
		if addr >= s.addr && addr-s.addr < s.size {
			return s, true
		}
	}
	return segment{}, false
}

// Offset returns where in the file the byte at an address lies; false where the
// file does not hold it.
func (f *File) Offset(addr uint64) (offset uint64, ok bool) {
	s, ok := f.segment(addr)
	if !ok {
		return 0, false
	}
	return s.offset + (addr - s.addr), true
}

// ReadOnly says whether the byte at addr lies in a segment that is mapped
// without write permission, so that the file tells what a process sees there.
func (f *File) ReadOnly(addr uint64) bool {
	s, ok := f.segment(addr)
	return ok && !s.writable
}

// ReadAddr fills p with what the file holds at addr. In a position-independent
// executable the words that the loader relocates are not what a process sees.
func (f *File) ReadAddr(p []byte, addr uint64) error {
	s, ok := f.segment(addr)
	if !ok || uint64(len(p)) > s.size-(addr-s.addr) {
		return fmt.Errorf("read %d bytes at %#x: not in the file", len(p), addr)
	}
	return f.readOffset(p, s.offset+(addr-s.addr))
}

func (f *File) readOffset(p []byte, offset uint64) error {
	if offset > uint64(f.size) || uint64(len(p)) > uint64(f.size)-offset {
		return fmt.Errorf("read %d bytes at offset %#x: the file ends at %#x", len(p), offset, f.size)
	}
	n, err := f.reader.ReadAt(p, int64(offset))
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("read %d bytes at offset %#x: %w", len(p), offset, err)
}

// view returns n bytes at addr, which must not be modified.
func (f *File) view(addr, n uint64) ([]byte, error) {
	s, ok := f.segment(addr)
	if !ok || n > s.size-(addr-s.addr) || n > uint64(f.size) {
		return nil, fmt.Errorf("read %d bytes at %#x: not in the file", n, addr)
	}
	offset := s.offset + (addr - s.addr)
	if offset > uint64(f.size) || n > uint64(f.size)-offset {
		return nil, fmt.Errorf("read %d bytes at offset %#x: the file ends at %#x", n, offset, f.size)
	}
	p, err := f.blocks.Range(int64(offset), int(n))
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at offset %#x: %w", n, offset, err)
	}
	return p, nil
}

// readAlloc reads n bytes at addr into new memory, which is never more than the
// file has.
func (f *File) readAlloc(addr, n uint64) ([]byte, error) {
	s, ok := f.segment(addr)
	if !ok || n > s.size-(addr-s.addr) || n > uint64(f.size) {
		return nil, fmt.Errorf("read %d bytes at %#x: not in the file", n, addr)
	}
	p := make([]byte, n)
	return p, f.ReadAddr(p, addr)
}

// readRelocated is readAlloc with the words as the loader leaves them, at a
// load bias of zero: in a position-independent executable an address may be
// stored in its relocation only (R_X86_64_RELATIVE and R_AARCH64_RELATIVE have
// the addend).
func (f *File) readRelocated(addr, n uint64) ([]byte, error) {
	const maxSections = 8
	p, err := f.readAlloc(addr, n)
	if err != nil || !f.PIE {
		return p, err
	}
	sections := 0
	for _, section := range f.elf.Sections {
		if section.Type != elf.SHT_RELA || section.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		if sections++; sections > maxSections {
			break
		}
		if err := f.relocate(p, addr, section); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (f *File) relocate(p []byte, addr uint64, section *elf.Section) error {
	const entry = 24 // an Elf64_Rela
	relative := uint32(elf.R_X86_64_RELATIVE)
	if f.Arch == ARM64 {
		relative = uint32(elf.R_AARCH64_RELATIVE)
	}
	buffer := make([]byte, min(section.FileSize, 2048*entry))
	for at := uint64(0); at+entry <= section.FileSize; at += uint64(len(buffer)) {
		buffer = buffer[:min(uint64(len(buffer)), section.FileSize-at)/entry*entry]
		if err := f.readOffset(buffer, section.Offset+at); err != nil {
			return fmt.Errorf("read relocations: %w", err)
		}
		for r := buffer; len(r) >= entry; r = r[entry:] {
			place := binary.LittleEndian.Uint64(r)
			if place < addr || place-addr >= uint64(len(p)) || uint64(len(p))-(place-addr) < 8 {
				continue
			}
			if binary.LittleEndian.Uint32(r[8:]) == relative {
				copy(p[place-addr:][:8], r[16:24])
			}
		}
	}
	return nil
}

// section finds an allocated section by name whose contents the file has.
func (f *File) section(name string) (*elf.Section, bool) {
	s := f.elf.Section(name)
	if s == nil || s.Type == elf.SHT_NOBITS || s.Flags&elf.SHF_ALLOC == 0 || s.Addr == 0 {
		return nil, false
	}
	return s, true
}

// readBuildID reads the GNU build ID, else the Go build ID.
func (f *File) readBuildID() string {
	const gnuBuildID, goBuildID = 3, 4 // types of notes
	if id := f.note(".note.gnu.build-id", "GNU", gnuBuildID); len(id) > 0 {
		return hex.EncodeToString(id)
	}
	return string(f.note(".note.go.buildid", "Go", goBuildID))
}

// note reads the description of the first note in a section.
func (f *File) note(section, name string, kind uint32) []byte {
	const maxNote = 4096
	s, ok := f.section(section)
	if !ok || s.FileSize > maxNote {
		return nil
	}
	data, err := f.readAlloc(s.Addr, s.FileSize)
	if err != nil || len(data) < 12 {
		return nil
	}
	nameSize := binary.LittleEndian.Uint32(data)
	size := binary.LittleEndian.Uint32(data[4:])
	if binary.LittleEndian.Uint32(data[8:]) != kind || nameSize > maxNote || size > maxNote {
		return nil
	}
	data = data[12:]
	skip := int(nameSize+3) &^ 3
	if len(data) < skip+int(size) || strings.TrimRight(string(bytes.TrimRight(data[:nameSize], "\x00")), "\x00") != name {
		return nil
	}
	return data[skip:][:size]
}
