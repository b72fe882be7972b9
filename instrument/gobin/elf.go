package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
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

// CodeStart is the lowest address of executable segments, at which the kernel
// says that a process's code begins (mm->start_code, fs/binfmt_elf.c).
func (f *File) CodeStart() uint64 {
	start := ^uint64(0)
	for _, s := range f.segments {
		if s.executable {
			start = min(start, s.addr)
		}
	}
	return start
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
	p, err := f.readAlloc(addr, n)
	if err != nil || !f.PIE {
		return p, err
	}
	relative := f.relativeRelocation()
	return p, f.relocations(func(r relocation) error {
		if r.place >= addr && r.place-addr < n && n-(r.place-addr) >= 8 && r.kind == relative {
			binary.LittleEndian.PutUint64(p[r.place-addr:], uint64(r.addend))
		}
		return nil
	})
}

// relativeRelocation is the kind of a relocation that is an address in the file.
func (f *File) relativeRelocation() uint32 {
	if f.Arch == ARM64 {
		return uint32(elf.R_AARCH64_RELATIVE)
	}
	return uint32(elf.R_X86_64_RELATIVE)
}

// searchData looks for a pattern in the initialised variables, at addresses that
// are multiples of align, and calls try for each place until it is content.
func (f *File) searchData(pattern []byte, align uint64, try func(addr uint64) bool) error {
	const maxCandidates = 16
	candidates := 0
	for _, where := range f.dataSpans() {
		data, err := f.readRelocated(where.start, where.size())
		if err != nil {
			return err
		}
		for at := 0; ; at++ {
			i := bytes.Index(data[at:], pattern)
			if i < 0 {
				break
			}
			at += i
			if (where.start+uint64(at))%align != 0 {
				continue
			}
			if candidates++; candidates > maxCandidates || try(where.start+uint64(at)) {
				return nil
			}
		}
	}
	return nil
}

// dataSpans are where initialised variables lie: in sections that are known, or
// else, where there are no section headers, in all that is writable.
func (f *File) dataSpans() []span {
	var spans []span
	for _, name := range []string{".noptrdata", ".data", ".data.rel.ro"} {
		if s, ok := f.section(name); ok {
			spans = append(spans, span{s.Addr, s.Addr + s.FileSize})
		}
	}
	if len(f.elf.Sections) > 0 {
		return spans
	}
	for _, s := range f.segments {
		if s.writable && !s.executable {
			spans = append(spans, span{s.addr, s.addr + s.size})
		}
	}
	return spans
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

// note reads the description of the first note of a kind: in its section, or
// where there are no section headers, in the segments of notes.
func (f *File) note(section, name string, kind uint32) []byte {
	if s, ok := f.section(section); ok {
		return f.findNote(span{s.Addr, s.Addr + s.FileSize}, name, kind)
	}
	if len(f.elf.Sections) > 0 {
		return nil
	}
	for _, p := range f.elf.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		if note := f.findNote(span{p.Vaddr, p.Vaddr + p.Filesz}, name, kind); note != nil {
			return note
		}
	}
	return nil
}

// findNote reads the description of the first note with that name and kind.
func (f *File) findNote(where span, name string, kind uint32) []byte {
	const maxNotes = 4096
	if where.end < where.start || where.size() > maxNotes {
		return nil
	}
	data, err := f.readAlloc(where.start, where.size())
	if err != nil {
		return nil
	}
	return noteIn(data, name, kind)
}

// noteIn is the description of the first note with that name and kind: each has
// three words, the sizes of name and description and the kind, and is padded to
// words.
func noteIn(data []byte, name string, kind uint32) []byte {
	const head = 12
	for len(data) >= head {
		nameSize, size := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		is := binary.LittleEndian.Uint32(data[8:]) == kind
		data = data[head:]
		skip := (uint64(nameSize) + 3) &^ 3
		next := skip + (uint64(size)+3)&^3
		if skip+uint64(size) > uint64(len(data)) {
			return nil
		}
		if is && string(bytes.TrimRight(data[:nameSize], "\x00")) == name {
			return data[skip:][:size]
		}
		data = data[min(next, uint64(len(data))):]
	}
	return nil
}
