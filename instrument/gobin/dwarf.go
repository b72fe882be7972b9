package gobin

import (
	"cmp"
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
)

// ErrNoDWARF says that a file has no DWARF: it was built with -ldflags=-w or -s,
// or stripped.
var ErrNoDWARF = errors.New("no DWARF: build without -ldflags=-w or -s, and do not strip")

// debugInfo is the DWARF of a file. Of its compilation units only those are read
// that hold a function that is asked for.
type debugInfo struct {
	data   *dwarf.Data
	ranges []unitRange // ascending
	units  []unit      // ascending

	mu      sync.Mutex
	skimmer skimmer
	reader  *dwarf.Reader        // of only
	indexes map[int][]subprogram // by index of the unit, ascending by entry
	types   typeTable
}

// A unitRange is code of a compilation unit.
type unitRange struct {
	span
	unit int // index
}

// A subprogram is where a function is described, and where each of its parameters
// and results.
type subprogram struct {
	entry  uint64
	at     dwarf.Offset
	params []dwarf.Offset
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
	d := &debugInfo{
		data: data, indexes: make(map[int][]subprogram),
		skimmer: skimmer{info: sections["info"], abbrev: sections["abbrev"]},
	}
	if err := d.readUnits(sections["info"]); err != nil {
		return nil, fmt.Errorf("read the DWARF of %s: %w", f.Path, err)
	}
	return d, nil
}

// readUnits reads the root of every unit.
func (d *debugInfo) readUnits(info []byte) error {
	d.units = unitsOf(info)
	for i := range d.units {
		e, _, err := d.entry(d.units[i].root)
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
			d.ranges = append(d.ranges, unitRange{span{g[0], g[1]}, i})
		}
		// A function has a range at least; damaged units could share a long list.
		if len(d.ranges) > len(info) {
			return errors.New("its list of units is damaged")
		}
	}
	sort.Slice(d.ranges, func(i, j int) bool { return d.ranges[i].start < d.ranges[j].start })
	return nil
}

// unitsOf reads the headers of the units (DWARF 5, section 7.5.1). debug/dwarf has
// checked them, but does not tell.
func unitsOf(info []byte) []unit {
	var units []unit
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
		if root := at + header + 2 + 1 + word; root < next { // version, address size, abbreviations
			const compile, partial = 1, 3
			fields := info[at+header : next]
			u := unit{end: dwarf.Offset(next), version: int(binary.LittleEndian.Uint16(fields)), offsetSize: word}
			fields = fields[2:]
			if u.version >= 5 { // the type of the unit and the address size come first
				kind := fields[0]
				u.addressSize = int(fields[1])
				fields = fields[2:]
				if root++; kind != compile && kind != partial {
					root = next
				}
			} else {
				u.addressSize = int(fields[word])
			}
			if root < next {
				u.abbreviations = uint64(binary.LittleEndian.Uint32(fields))
				if word == 8 {
					u.abbreviations = binary.LittleEndian.Uint64(fields)
				}
				u.root = dwarf.Offset(root)
				units = append(units, u)
			}
		}
		at = next
	}
	return units
}

// subprogram finds the description of the function that begins at addr. The caller
// holds d.mu.
func (d *debugInfo) subprogram(addr uint64) (*subprogram, error) {
	i := sort.Search(len(d.ranges), func(i int) bool { return d.ranges[i].start > addr })
	if i == 0 || !d.ranges[i-1].contains(addr) {
		return nil, errors.New("DWARF describes no code there")
	}
	unit := d.ranges[i-1].unit
	index, ok := d.indexes[unit]
	if !ok {
		var err error
		if index, err = d.indexUnit(d.units[unit]); err != nil {
			return nil, err
		}
		d.indexes[unit] = index
	}
	n, ok := slices.BinarySearchFunc(index, addr, func(s subprogram, addr uint64) int { return cmp.Compare(s.entry, addr) })
	if !ok {
		return nil, errors.New("DWARF does not describe it")
	}
	return &index[n], nil
}

// indexUnit lists the functions of a unit.
func (d *debugInfo) indexUnit(u unit) ([]subprogram, error) {
	var found []subprogram
	within := false // the last function that was found
	err := d.skimmer.skim(u, func(at dwarf.Offset, tag dwarf.Tag, depth int) {
		switch {
		case depth == 1:
			if within = tag == dwarf.TagSubprogram; within {
				found = append(found, subprogram{at: at})
			}
		case depth == 2 && within && tag == dwarf.TagFormalParameter:
			last := &found[len(found)-1]
			last.params = append(last.params, at)
		}
	})
	if err != nil {
		return nil, err
	}
	index := found[:0] // without abstract functions, which have no code
	for _, s := range found {
		e, err := d.only(s.at)
		if err != nil {
			return nil, err
		}
		if low, ok := e.Val(dwarf.AttrLowpc).(uint64); ok {
			s.entry = low
			index = append(index, s)
		}
	}
	slices.SortStableFunc(index, func(a, b subprogram) int { return cmp.Compare(a.entry, b.entry) })
	return index, nil
}

// entry reads the entry at an offset, and returns a reader behind it.
func (d *debugInfo) entry(offset dwarf.Offset) (*dwarf.Entry, *dwarf.Reader, error) {
	r := d.data.Reader()
	e, err := entryOf(r, offset)
	return e, r, err
}

// only is entry for an entry without those in it. The caller holds d.mu.
func (d *debugInfo) only(offset dwarf.Offset) (*dwarf.Entry, error) {
	if d.reader == nil {
		d.reader = d.data.Reader()
	}
	return entryOf(d.reader, offset)
}

func entryOf(r *dwarf.Reader, offset dwarf.Offset) (*dwarf.Entry, error) {
	r.Seek(offset)
	e, err := r.Next()
	if err != nil {
		return nil, err
	}
	if e == nil || e.Tag == 0 || e.Offset != offset {
		return nil, fmt.Errorf("DWARF has no entry at %#x", offset)
	}
	return e, nil
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
