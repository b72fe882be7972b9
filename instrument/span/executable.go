package span

import (
	"encoding/binary"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

// An executable is what values need to know of an executable.
type executable struct {
	file *gobin.File
	// Names of types and of functions that values showed, by address.
	types, functions map[uint64]string
	dynamics         map[dynamicKey]*plan.Dynamic
}

type dynamicKey struct {
	typ uint64
	of  uint32
}

func newExecutable(p *plan.Plan) *executable {
	e := &executable{
		file:      p.File,
		types:     make(map[uint64]string),
		functions: make(map[uint64]string),
		dynamics:  make(map[dynamicKey]*plan.Dynamic, len(p.Dynamics)),
	}
	for i := range p.Dynamics {
		d := &p.Dynamics[i]
		e.dynamics[dynamicKey{d.Type, d.Of}] = d
	}
	return e
}

// typeName is the name of the type whose runtime data is at a link time address.
// One that was made by reflection is not in the executable.
func (e *executable) typeName(addr uint64) string {
	name, ok := e.types[addr]
	if !ok {
		var err error
		if name, err = e.file.TypeName(addr); err != nil {
			name = "unknown"
		}
		e.types[addr] = name
	}
	return name
}

// function is the name of the function that has code at a link time address;
// empty where there is none.
func (e *executable) function(addr uint64) string {
	name, ok := e.functions[addr]
	if !ok {
		name, _ = e.file.NameAt(addr) // no function, no name
		e.functions[addr] = name
	}
	return name
}

// readOnly are bytes at a link time address in the executable's read-only
// segments: a page of theirs may not be in memory before the target touches it.
// Nil where they are somewhere else.
func (e *executable) readOnly(addr, n uint64) []byte {
	const enough = 1 << 16
	if n > enough || !e.file.ReadOnly(addr) {
		return nil
	}
	bytes := make([]byte, n)
	if err := e.file.ReadAddr(bytes, addr); err != nil {
		return nil
	}
	return bytes
}

// word is the word at an offset, 0 beyond the end.
func word(bytes []byte, at uint32) uint64 {
	if uint64(len(bytes)) < uint64(at)+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(bytes[at:])
}
