package gobin

import (
	"bytes"
	"compress/zlib"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
)

// ErrNoDWARF says that a file has no DWARF: it was built with -ldflags=-w or -s,
// or stripped.
var ErrNoDWARF = errors.New("no DWARF: build without -ldflags=-w or -s, and do not strip")

// debugInfo is the DWARF of a file. Of its compilation units only those are read
// that hold a function that is asked for.
type debugInfo struct {
	data  *dwarf.Data
	units []unitRange    // ascending
	roots []dwarf.Offset // of units, ascending

	mu          sync.Mutex
	subprograms map[dwarf.Offset]map[uint64]dwarf.Offset // by unit, by entry
	types       typeTable
}

// A unitRange is code of a compilation unit.
type unitRange struct {
	span
	unit dwarf.Offset
}

// HasDWARF says whether the file has DWARF, without reading it.
func (f *File) HasDWARF() bool {
	_, ok := f.debugSection("info")
	return ok
}

// debugSections are the sections that are read: what describes functions and types.
var debugSections = [...]string{"abbrev", "info", "str", "ranges", "addr", "line_str", "rnglists", "str_offsets"}

// dwarf reads the DWARF sections and the extent of every unit, once.
func (f *File) dwarf() (*debugInfo, error) {
	return f.debug.load(f.readDWARF)
}

func (f *File) readDWARF() (*debugInfo, error) {
	if !f.HasDWARF() && f.separate == nil {
		f.problem = f.findDebugFile()
		if f.separate == nil {
			return nil, ErrNoDWARF
		}
	}
	sections := map[string][]byte{}
	for _, name := range debugSections {
		data, err := f.readDebugSection(name)
		if err != nil {
			return nil, fmt.Errorf("read the DWARF of %s: section %s: %w", f.Path, name, err)
		}
		sections[name] = data
	}
	data, err := dwarf.New(sections["abbrev"], nil, nil, sections["info"], nil, nil, sections["ranges"], sections["str"])
	if err != nil {
		return nil, fmt.Errorf("read the DWARF of %s: %w", f.Path, err)
	}
	for _, name := range []string{"addr", "line_str", "rnglists", "str_offsets"} {
		if err := data.AddSection(".debug_"+name, sections[name]); err != nil {
			return nil, fmt.Errorf("read the DWARF of %s: section %s: %w", f.Path, name, err)
		}
	}
	d := &debugInfo{data: data, subprograms: map[dwarf.Offset]map[uint64]dwarf.Offset{}}
	if err := d.readUnits(sections["info"]); err != nil {
		return nil, fmt.Errorf("read the DWARF of %s: %w", f.Path, err)
	}
	return d, nil
}

// debugSection finds a DWARF section, in the executable or in its separate debug
// file.
func (f *File) debugSection(name string) (*elf.Section, bool) {
	if f.separate != nil {
		return sectionOf(f.separate.elf, name)
	}
	return sectionOf(f.elf, name)
}

// sectionOf finds a DWARF section under its name, or under that which older
// linkers give to a compressed one.
func sectionOf(file *elf.File, name string) (*elf.Section, bool) {
	for _, prefix := range []string{".debug_", ".zdebug_"} {
		if s := file.Section(prefix + name); s != nil && s.Type != elf.SHT_NOBITS && s.FileSize > 0 {
			return s, true
		}
	}
	return nil, false
}

// readDebugSection reads a section, decompressed; nil where there is none.
func (f *File) readDebugSection(name string) ([]byte, error) {
	// DWARF shrinks to a third or a quarter; a file that claims much more is
	// broken, or wants our memory.
	const maxRatio = 64
	s, ok := f.debugSection(name)
	if !ok {
		return nil, nil
	}
	size := f.size
	if f.separate != nil {
		size = f.separate.size
	}
	if s.FileSize > uint64(size) {
		return nil, errors.New("it is longer than the file")
	}
	if s.Flags&elf.SHF_COMPRESSED != 0 && s.Size/maxRatio > s.FileSize {
		return nil, fmt.Errorf("its %d bytes would decompress to %d", s.FileSize, s.Size)
	}
	data, err := s.Data()
	if err != nil || !strings.HasPrefix(s.Name, ".z") {
		return data, err
	}
	// "ZLIB", the size as a big-endian word, a zlib stream.
	if len(data) < 12 || !bytes.HasPrefix(data, []byte("ZLIB")) {
		return data, nil
	}
	length := binary.BigEndian.Uint64(data[4:])
	if length/maxRatio > uint64(len(data)) {
		return nil, fmt.Errorf("its %d bytes would decompress to %d", len(data), length)
	}
	z, err := zlib.NewReader(bytes.NewReader(data[12:]))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	plain := make([]byte, length)
	_, err = io.ReadFull(z, plain)
	return plain, err
}

// readUnits reads the root of every unit.
func (d *debugInfo) readUnits(info []byte) error {
	d.roots = unitRoots(info)
	for _, unit := range d.roots {
		e, _, err := d.entry(unit)
		if err != nil {
			return err
		}
		if e.Tag != dwarf.TagCompileUnit {
			continue
		}
		ranges, err := d.data.Ranges(e)
		if err != nil {
			return err
		}
		for _, g := range ranges {
			d.units = append(d.units, unitRange{span{g[0], g[1]}, unit})
		}
		// A function has a range at least; damaged units could share a long list.
		if len(d.units) > len(info) {
			return errors.New("its list of units is damaged")
		}
	}
	sort.Slice(d.units, func(i, j int) bool { return d.units[i].start < d.units[j].start })
	return nil
}

// unitRoots finds the root entries: where the headers of the units end (DWARF 5,
// section 7.5.1). debug/dwarf has checked the headers, but does not tell.
func unitRoots(info []byte) []dwarf.Offset {
	var roots []dwarf.Offset
	for at := 0; at+4 <= len(info); {
		length, header, word := uint64(binary.LittleEndian.Uint32(info[at:])), 4, 4
		if length == 0xffffffff {
			if at+12 > len(info) {
				break
			}
			length, header, word = binary.LittleEndian.Uint64(info[at+4:]), 12, 8
		}
		if length > uint64(len(info)-at-header) {
			break
		}
		next := at + header + int(length)
		if length > 2 {
			const compile, partial = 1, 3
			root := at + header + 2 + 1 + word // version, address size, abbreviations
			if binary.LittleEndian.Uint16(info[at+header:]) >= 5 {
				root++ // type of unit
				if kind := info[at+header+2]; kind != compile && kind != partial {
					root = next
				}
			}
			if root < next {
				roots = append(roots, dwarf.Offset(root))
			}
		}
		at = next
	}
	return roots
}

// subprogram finds the entry of the function that begins at addr. The caller
// holds d.mu.
func (d *debugInfo) subprogram(addr uint64) (*dwarf.Entry, *dwarf.Reader, error) {
	i := sort.Search(len(d.units), func(i int) bool { return d.units[i].start > addr })
	if i == 0 || !d.units[i-1].contains(addr) {
		return nil, nil, errors.New("DWARF describes no code there")
	}
	unit := d.units[i-1].unit
	index, ok := d.subprograms[unit]
	if !ok {
		var err error
		if index, err = d.indexUnit(unit); err != nil {
			return nil, nil, err
		}
		d.subprograms[unit] = index
	}
	offset, ok := index[addr]
	if !ok {
		return nil, nil, errors.New("DWARF does not describe it")
	}
	return d.entry(offset)
}

// indexUnit lists the functions of a unit.
func (d *debugInfo) indexUnit(unit dwarf.Offset) (map[uint64]dwarf.Offset, error) {
	e, r, err := d.entry(unit)
	if err != nil {
		return nil, err
	}
	index := map[uint64]dwarf.Offset{}
	err = children(e, r, func(child *dwarf.Entry) error {
		if child.Tag == dwarf.TagSubprogram {
			if low, ok := child.Val(dwarf.AttrLowpc).(uint64); ok {
				index[low] = child.Offset
			}
		}
		return nil
	})
	return index, err
}

// entry reads the entry at an offset, and returns a reader behind it.
func (d *debugInfo) entry(offset dwarf.Offset) (*dwarf.Entry, *dwarf.Reader, error) {
	r := d.data.Reader()
	r.Seek(offset)
	e, err := r.Next()
	if err != nil {
		return nil, nil, err
	}
	if e == nil || e.Tag == 0 || e.Offset != offset {
		return nil, nil, fmt.Errorf("DWARF has no entry at %#x", offset)
	}
	return e, r, nil
}

// children calls each for the direct children of an entry that has just been
// read from r. Unlike Reader.SkipChildren it does not recurse, as a damaged file
// can nest entries to any depth.
func children(e *dwarf.Entry, r *dwarf.Reader, each func(*dwarf.Entry) error) error {
	if !e.Children {
		return nil
	}
	for depth := 0; ; {
		child, err := r.Next()
		if err != nil {
			return err
		}
		switch {
		case child == nil || child.Tag == 0 && depth == 0:
			return nil
		case child.Tag == 0:
			depth--
			continue
		case depth == 0:
			if err := each(child); err != nil {
				return err
			}
		}
		if child.Children {
			depth++
		}
	}
}
