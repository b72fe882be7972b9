package gobin

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
)

// A unit is a compilation unit of the DWARF, by its header.
type unit struct {
	root, end     dwarf.Offset // its first entry, and where it ends
	abbreviations uint64       // where they begin in their section
	version       int
	offsetSize    int // of an offset in a section: 4, or 8 in 64-bit DWARF
	addressSize   int
}

// A skimmer goes through the entries of a unit without reading them. debug/dwarf
// makes an object of every attribute; where only a few entries of many are wanted,
// that takes most of the time and the memory.
type skimmer struct {
	info, abbrev []byte
	tableAt      uint64 // of the last table of abbreviations, which most units share
	table        map[uint64]abbreviation
}

// An abbreviation is what entries of one kind have.
type abbreviation struct {
	tag      dwarf.Tag
	children bool
	fixed    int // size of the attributes, where forms is nil
	forms    []uint64
}

var errDamagedEntries = errors.New("its entries are damaged")

// skim calls each for the entries of a unit, in their order: where they are, what
// they are, and how many others they are in.
func (s *skimmer) skim(u unit, each func(at dwarf.Offset, tag dwarf.Tag, depth int)) error {
	table, err := s.abbreviations(u)
	if err != nil {
		return err
	}
	if u.root > u.end || uint64(u.end) > uint64(len(s.info)) {
		return errDamagedEntries
	}
	data := s.info[:u.end]
	for at, depth := int(u.root), 0; at < len(data); {
		code, n := binary.Uvarint(data[at:])
		if n <= 0 {
			return errDamagedEntries
		}
		if code == 0 {
			if at, depth = at+n, depth-1; depth <= 0 {
				return nil
			}
			continue
		}
		a, ok := table[code]
		if !ok {
			return errDamagedEntries
		}
		each(dwarf.Offset(at), a.tag, depth)
		at += n + a.fixed
		for _, form := range a.forms {
			if at > len(data) {
				return errDamagedEntries
			}
			size, err := u.size(form, data[at:])
			if err != nil {
				return err
			}
			at += size
		}
		if at > len(data) {
			return errDamagedEntries
		}
		if a.children {
			depth++
		} else if depth == 0 {
			return nil
		}
	}
	return nil
}

// abbreviations reads the table of a unit (DWARF 5, section 7.5.3).
func (s *skimmer) abbreviations(u unit) (map[uint64]abbreviation, error) {
	if s.table != nil && s.tableAt == u.abbreviations {
		return s.table, nil
	}
	const most, children, implicit = 1 << 16, 1, 0x21
	if u.abbreviations > uint64(len(s.abbrev)) {
		return nil, errDamagedEntries
	}
	data := s.abbrev[u.abbreviations:]
	bad := false
	next := func() uint64 {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			bad = true
			return 0
		}
		data = data[n:]
		return v
	}
	table := make(map[uint64]abbreviation)
	for {
		code := next()
		if bad || len(table) == most {
			return nil, errDamagedEntries
		}
		if code == 0 {
			break
		}
		a := abbreviation{tag: dwarf.Tag(next())}
		if len(data) == 0 {
			return nil, errDamagedEntries
		}
		a.children = data[0] == children
		data = data[1:]
		for {
			attribute, form := next(), next()
			if bad {
				return nil, errDamagedEntries
			}
			if attribute == 0 && form == 0 {
				break
			}
			if form == implicit { // its value is here, and nothing in the entry
				next()
				continue
			}
			a.forms = append(a.forms, form)
		}
		a.fix(u)
		table[code] = a
	}
	s.table, s.tableAt = table, u.abbreviations
	return table, nil
}

// fix finds the size of the attributes, where it is the same in all entries.
func (a *abbreviation) fix(u unit) {
	total := 0
	for _, form := range a.forms {
		size, err := u.size(form, nil)
		if err != nil {
			return
		}
		total += size
	}
	a.fixed, a.forms = total, nil
}

// size is how many bytes an attribute of a form takes (DWARF 5, section 7.5.6),
// which is found in data where it differs.
func (u unit) size(form uint64, data []byte) (int, error) {
	counted := func(count uint64, n int) (int, error) {
		if n <= 0 || count > uint64(len(data)-n) {
			return 0, errDamagedEntries
		}
		return n + int(count), nil
	}
	switch form {
	case 0x19: // flag_present
		return 0, nil
	case 0x0b, 0x0c, 0x11, 0x25, 0x29: // data1, flag, ref1, strx1, addrx1
		return 1, nil
	case 0x05, 0x12, 0x26, 0x2a: // data2, ref2, strx2, addrx2
		return 2, nil
	case 0x27, 0x2b: // strx3, addrx3
		return 3, nil
	case 0x06, 0x13, 0x1c, 0x28, 0x2c: // data4, ref4, ref_sup4, strx4, addrx4
		return 4, nil
	case 0x07, 0x14, 0x20, 0x24: // data8, ref8, ref_sig8, ref_sup8
		return 8, nil
	case 0x1e: // data16
		return 16, nil
	case 0x01: // addr
		return u.addressSize, nil
	case 0x10: // ref_addr
		if u.version < 3 {
			return u.addressSize, nil
		}
		return u.offsetSize, nil
	case 0x0e, 0x17, 0x1d, 0x1f, 0x1f20, 0x1f21: // strp, sec_offset, strp_sup, line_strp, GNU's
		return u.offsetSize, nil
	case 0x0d, 0x0f, 0x15, 0x1a, 0x1b, 0x22, 0x23, 0x1f01, 0x1f02: // LEB128
		for n, b := range data {
			if b < 0x80 {
				return n + 1, nil
			}
		}
		return 0, errDamagedEntries
	case 0x08: // string
		if n := bytes.IndexByte(data, 0); n >= 0 {
			return n + 1, nil
		}
		return 0, errDamagedEntries
	case 0x09, 0x18: // block, exprloc
		count, n := binary.Uvarint(data)
		return counted(count, n)
	case 0x0a, 0x03, 0x04: // block1, block2, block4
		n := map[uint64]int{0x0a: 1, 0x03: 2, 0x04: 4}[form]
		if len(data) < n {
			return 0, errDamagedEntries
		}
		var count [8]byte
		copy(count[:], data[:n])
		return counted(binary.LittleEndian.Uint64(count[:]), n)
	case 0x16: // indirect
		form, n := binary.Uvarint(data)
		if n <= 0 || form == 0x16 {
			return 0, errDamagedEntries
		}
		size, err := u.size(form, data[n:])
		return n + size, err
	}
	return 0, fmt.Errorf("an attribute has a form that is not known, %#x", form)
}
