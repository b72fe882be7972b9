package gobin

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// moduledata is what is needed of runtime.firstmoduledata
// (src/runtime/symtab.go).
type moduledata struct {
	addr  uint64
	text  uint64
	types span // zero where the layout of this Go version is not known
	// funcdata is what a function's funcdata is relative to (gofunc); 0 where the
	// layout is not known.
	funcdata uint64
}

// Offsets in runtime.moduledata: the same from Go 1.18 to 1.27.
const (
	moduleSize  = 352 // as far as it is read
	moduleText  = 176
	moduleEtext = 184
)

// moduleTypes are the offsets of moduledata.types and etypes by minor version of
// Go.
func moduleTypes(minor int) (types, etypes int, ok bool) {
	switch {
	case minor == 18, minor == 19:
		return 280, 288, true
	case minor >= 20 && minor <= 26:
		return 296, 304, true
	case minor == 27:
		return 296, 312, true // typedesclen came between
	}
	return 0, 0, false
}

// moduleFuncdata is the offset of moduledata.gofunc, which has rodata between it
// and etypes, and from Go 1.27 on two words more.
func moduleFuncdata(minor int) (int, bool) {
	_, etypes, ok := moduleTypes(minor)
	if minor >= 27 {
		return etypes + 32, ok
	}
	return etypes + 16, ok
}

// textStart is moduledata.text, by the address of the function table.
func (f *File) textStart(table uint64) (uint64, error) {
	m, err := f.module.load(func() (moduledata, error) { return f.findModule(table) })
	return m.text, err
}

// findModule finds runtime.firstmoduledata: it has a section of its own from Go
// 1.26 on; otherwise, it lies in the data. Its first word is the address of the
// function table.
func (f *File) findModule(table uint64) (moduledata, error) {
	if s, ok := f.section(".go.module"); ok {
		return f.readModule(s.Addr, table)
	}
	m, problem := moduledata{}, errors.New("no runtime.firstmoduledata in the data of the file")
	word := binary.LittleEndian.AppendUint64(nil, table)
	err := f.searchData(word, 8, func(addr uint64) bool {
		m, problem = f.readModule(addr, table)
		return problem == nil
	})
	if err != nil {
		return moduledata{}, err
	}
	return m, problem
}

func (f *File) readModule(addr, table uint64) (moduledata, error) {
	data, err := f.readRelocated(addr, moduleSize)
	if err != nil {
		return moduledata{}, fmt.Errorf("read runtime.firstmoduledata: %w", err)
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(data[at:]) }
	m := moduledata{addr: addr, text: word(moduleText)}
	code, ok := f.segment(m.text)
	if word(0) != table || !ok || !code.executable || word(moduleEtext) < m.text {
		return moduledata{}, fmt.Errorf("what lies at %#x is not runtime.firstmoduledata of %s", addr, f.GoVersion)
	}
	if from, to, ok := moduleTypes(f.minor); ok {
		types := span{word(from), word(to)}
		if s, ok := f.segment(types.start); ok && types.start <= types.end && types.end-s.addr <= s.size {
			m.types = types
		}
	}
	if at, ok := moduleFuncdata(f.minor); ok {
		if _, ok := f.segment(word(at)); ok {
			m.funcdata = word(at)
		}
	} else if s, ok := f.section(".go.func"); ok { // from Go 1.27 on
		m.funcdata = s.Addr
	}
	return m, nil
}
