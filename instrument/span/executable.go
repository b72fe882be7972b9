package span

import (
	"encoding/binary"
	"sort"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

// An executable is what values need to know of an executable.
type executable struct {
	file     *gobin.File
	names    map[uint64]string // of types, by address
	dynamics map[dynamicKey]*plan.Dynamic
}

type dynamicKey struct {
	typ uint64
	of  uint32
}

func newExecutable(p *plan.Plan) *executable {
	b := &executable{file: p.File, names: make(map[uint64]string), dynamics: make(map[dynamicKey]*plan.Dynamic, len(p.Dynamics))}
	for i := range p.Dynamics {
		d := &p.Dynamics[i]
		b.dynamics[dynamicKey{d.Type, d.Of}] = d
	}
	return b
}

// typeName is the name of the type whose runtime data is at a link time address.
// One that was made by reflection is not in the executable.
func (b *executable) typeName(addr uint64) string {
	name, ok := b.names[addr]
	if !ok {
		var err error
		if name, err = b.file.TypeName(addr); err != nil {
			name = "unknown"
		}
		b.names[addr] = name
	}
	return name
}

// function is the name of the function that has code at a link time address.
func (b *executable) function(addr uint64) string {
	functions := b.file.Functions()
	i := sort.Search(len(functions), func(i int) bool { return functions[i].Entry > addr })
	if i == 0 || addr >= functions[i-1].End {
		return ""
	}
	return functions[i-1].Name
}

// readOnly are bytes at a link time address in the executable's read-only
// segments: a page of theirs may not be in memory before the target touches it.
// Nil where they are somewhere else.
func (b *executable) readOnly(addr, n uint64) []byte {
	const enough = 1 << 16
	if n > enough || !b.file.ReadOnly(addr) {
		return nil
	}
	bytes := make([]byte, n)
	if err := b.file.ReadAddr(bytes, addr); err != nil {
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
