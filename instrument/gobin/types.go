package gobin

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

// Offsets in abi.Type (src/internal/abi/type.go), the same from Go 1.18 to 1.27.
const (
	typeSize      = 48
	typeTFlag     = 20
	typeKindByte  = 23
	typeStr       = 40
	extraStarFlag = 1 << 1 // Str has a `*` before the name, shared with the pointer type
)

// TypeName returns the name of the type that the abi.Type at addr describes, as
// reflect.Type.String has it: `*fs.PathError`. It needs no DWARF. addr is a link
// time address, as a process has it less the load bias.
func (f *File) TypeName(addr uint64) (string, error) {
	m, err := f.module.load(func() (moduledata, error) { return f.findModule(f.table.addr) })
	if err != nil {
		return "", fmt.Errorf("name the type at %#x: %w", addr, err)
	}
	if m.types.start == 0 {
		return "", fmt.Errorf("name the type at %#x: where %s keeps types is not known", addr, f.GoVersion)
	}
	if !m.types.contains(addr) || m.types.end-addr < typeSize {
		return "", fmt.Errorf("name the type at %#x: types are at %#x to %#x; reflect made it, or it is no type", addr, m.types.start, m.types.end)
	}
	t, err := f.readAlloc(addr, typeSize)
	if err != nil {
		return "", fmt.Errorf("name the type at %#x: %w", addr, err)
	}
	name, err := f.typeName(m.types, binary.LittleEndian.Uint32(t[typeStr:]))
	if err != nil {
		return "", fmt.Errorf("name the type at %#x: %w", addr, err)
	}
	if t[typeTFlag]&extraStarFlag != 0 && name != "" && name[0] == '*' {
		name = name[1:]
	}
	return name, nil
}

// TypeKind returns the kind of the type that the abi.Type at addr describes. addr
// is a link time address.
func (f *File) TypeKind(addr uint64) (reflect.Kind, error) {
	if _, err := f.TypeName(addr); err != nil {
		return reflect.Invalid, err
	}
	t, err := f.readAlloc(addr, typeSize)
	if err != nil {
		return reflect.Invalid, fmt.Errorf("read the kind of the type at %#x: %w", addr, err)
	}
	return kindOf(t), nil
}

// typeName reads an abi.Name: a byte of flags, the length as a varint, the text.
func (f *File) typeName(types span, offset uint32) (string, error) {
	const maxName = 1 << 16
	addr := types.start + uint64(offset)
	if !types.contains(addr) {
		return "", fmt.Errorf("its name at %#x is not among the types", addr)
	}
	head, err := f.readAlloc(addr, min(1+binary.MaxVarintLen32, types.end-addr))
	if err != nil {
		return "", err
	}
	length, n := binary.Uvarint(head[1:])
	if n <= 0 || length == 0 || length > maxName || length > types.end-addr-1-uint64(n) {
		return "", fmt.Errorf("its name at %#x is damaged", addr)
	}
	text, err := f.readAlloc(addr+1+uint64(n), length)
	return string(text), err
}
