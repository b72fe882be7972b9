package gobin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// typeData is what the runtime knows of types (src/internal/abi/type.go), which no
// strip takes away: names, layouts, fields. It tells of types where there is no
// DWARF. All that is read of it is checked: it may be damaged.
type typeData struct {
	span
	file  *File
	bytes []byte // as the loader leaves them

	mu    sync.Mutex
	types map[uint64]*Type
	queue []uint64 // of types that are not filled in yet
	left  int      // how many bytes may still be made of it, so that a damaged one ends
}

// take says whether n bytes may be made.
func (d *typeData) take(n int) bool {
	d.left -= n
	return d.left >= 0
}

// mapImplSize is more than MapImpl makes, in bytes.
const mapImplSize = 8 << 10

// Flags of types and of names.
const (
	uncommonFlag = 1 << 0
	namedFlag    = 1 << 2
	embeddedFlag = 1 << 3 // of a field's name, from Go 1.19 on
)

// readTypeData reads where the runtime has its types.
func (f *File) readTypeData() (*typeData, error) {
	m, err := f.module.load(func() (moduledata, error) { return f.findModule(f.table.addr) })
	if err != nil {
		return nil, err
	}
	if m.types.start == 0 {
		return nil, fmt.Errorf("where %s keeps them is not known", f.GoVersion)
	}
	data, err := f.readRelocated(m.types.start, m.types.size())
	if err != nil {
		return nil, err
	}
	const enough = 64 // times its size
	return &typeData{span: m.types, file: f, bytes: data, types: make(map[uint64]*Type), left: enough * len(data)}, nil
}

// all lists the types. Not all of them can be reached from lists that the runtime
// has; but what looks like a type and is none does no harm, as nothing has its
// address for a type's.
func (d *typeData) all() ([]RuntimeType, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var types []RuntimeType
	for at := uint64(0); at+typeSize <= uint64(len(d.bytes)); at += 8 {
		if !plausible(d.bytes[at:]) {
			continue
		}
		name, ok := d.name(d.start+at, 0)
		if !ok {
			continue
		}
		if len(types) == maxTypes || d.left < 0 {
			return nil, errors.New("there are too many, or they are damaged")
		}
		types = append(types, RuntimeType{Addr: d.start + at, Name: name, data: true})
	}
	return types, nil
}

// plausible says whether an abi.Type may begin here.
func plausible(p []byte) bool {
	const knownFlags = 1<<6 - 1
	size, pointers := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
	kind := kindOf(p)
	if pointers > size || size > 1<<40 || p[typeTFlag] > knownFlags || kind == reflect.Invalid || kind > reflect.UnsafePointer {
		return false
	}
	for _, align := range p[typeTFlag+1 : typeTFlag+3] {
		if align == 0 || align > 8 || align&(align-1) != 0 {
			return false
		}
	}
	want := sizes[kind]
	return want == 0 || size == want
}

// sizes are those of the kinds whose types all have the same.
var sizes = [...]uint64{
	reflect.Bool: 1, reflect.Int8: 1, reflect.Uint8: 1, reflect.Int16: 2, reflect.Uint16: 2, reflect.Int32: 4, reflect.Uint32: 4,
	reflect.Float32: 4, reflect.Int: 8, reflect.Uint: 8, reflect.Int64: 8, reflect.Uint64: 8, reflect.Uintptr: 8, reflect.Float64: 8,
	reflect.Complex64: 8, reflect.Complex128: 16, reflect.Chan: 8, reflect.Func: 8, reflect.Map: 8, reflect.Pointer: 8,
	reflect.UnsafePointer: 8, reflect.Interface: 16, reflect.String: 16, reflect.Slice: 24,
}

// kindOf is the kind of an abi.Type: what is above are flags, before Go 1.26.
func kindOf(p []byte) reflect.Kind { return reflect.Kind(p[typeKindByte] & (1<<5 - 1)) }

// at is what the data has from an address on; nil where it has fewer than n bytes.
func (d *typeData) at(addr, n uint64) []byte {
	if addr < d.start || addr-d.start > uint64(len(d.bytes)) || uint64(len(d.bytes))-(addr-d.start) < n {
		return nil
	}
	return d.bytes[addr-d.start:]
}

// header is an abi.Type and what follows it.
func (d *typeData) header(addr uint64) []byte {
	p := d.at(addr, typeSize)
	if p == nil || !plausible(p) {
		return nil
	}
	return p
}

// text reads an abi.Name.
func (d *typeData) text(addr uint64) (text string, flags byte, ok bool) {
	const most = 1 << 12
	p := d.at(addr, 2)
	if p == nil {
		return "", 0, false
	}
	length, n := binary.Uvarint(p[1:min(len(p), 1+binary.MaxVarintLen32)])
	if n <= 0 || length == 0 || length > most || length > uint64(len(p)-1-n) || !d.take(int(length)) {
		return "", 0, false
	}
	return string(p[1+n:][:length]), p[0], true
}

// name is the name of a type with its whole import path, as DWARF has it.
func (d *typeData) name(addr uint64, depth int) (string, bool) {
	const deep = 8
	p := d.header(addr)
	if p == nil {
		return "", false
	}
	name, _, ok := d.text(d.start + uint64(binary.LittleEndian.Uint32(p[typeStr:])))
	if !ok {
		return "", false
	}
	if p[typeTFlag]&extraStarFlag != 0 {
		if name, ok = strings.CutPrefix(name, "*"); !ok || name == "" {
			return "", false
		}
	}
	if p[typeTFlag]&namedFlag != 0 {
		if path := d.packagePath(addr, p); path != "" {
			name = path + "." + unqualified(name)
		}
		return name, true
	}
	if depth == deep {
		return name, true
	}
	word := func(at uint64) uint64 {
		if p := d.at(addr+at, 8); p != nil {
			return binary.LittleEndian.Uint64(p)
		}
		return 0
	}
	kind := kindOf(p)
	switch kind {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
	default:
		return name, true
	}
	elem, known := d.name(word(typeSize), depth+1)
	if !known || !d.take(len(elem)) {
		return name, true
	}
	switch kind {
	case reflect.Pointer:
		return "*" + elem, true
	case reflect.Slice:
		return "[]" + elem, true
	case reflect.Array:
		return "[" + strconv.FormatUint(word(typeSize+16), 10) + "]" + elem, true
	}
	value, known := d.name(word(typeSize+8), depth+1)
	if !known || !d.take(len(value)) {
		return name, true
	}
	return "map[" + elem + "]" + value, true
}

// unqualified is a type's name without its package (reflect's rtype.Name).
func unqualified(name string) string {
	brackets := 0
	for i := len(name) - 1; i >= 0; i-- {
		switch name[i] {
		case ']':
			brackets++
		case '[':
			brackets--
		case '.':
			if brackets == 0 {
				return name[i+1:]
			}
		}
	}
	return name
}

// packagePath is the import path of a named type: in an abi.UncommonType, which
// lies behind what types of its kind have.
func (d *typeData) packagePath(addr uint64, p []byte) string {
	if p[typeTFlag]&uncommonFlag == 0 {
		return ""
	}
	more := uint64(0)
	switch kindOf(p) {
	case reflect.Pointer, reflect.Slice, reflect.Func:
		more = 8
	case reflect.Chan:
		more = 16
	case reflect.Array:
		more = 24
	case reflect.Struct, reflect.Interface:
		more = 32
	case reflect.Map:
		more = d.file.mapTypeSize()
	}
	p = d.at(addr+typeSize+more, 4)
	if p == nil {
		return ""
	}
	path, _, _ := d.text(d.start + uint64(binary.LittleEndian.Uint32(p)))
	return path
}

// mapTypeSize is the size of a maptype behind its abi.Type.
func (f *File) mapTypeSize() uint64 {
	switch {
	case f.bucketMaps():
		return 40
	case f.minor >= 27:
		return 88
	}
	return 64
}

// read returns the type at an address with all that it refers to.
func (d *typeData) read(addr uint64) (*Type, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.header(addr) == nil {
		return nil, fmt.Errorf("no type is at %#x", addr)
	}
	result := d.reference(addr)
	var maps []*Type
	for len(d.queue) > 0 {
		if d.left < 0 {
			d.types, d.queue = make(map[uint64]*Type), nil
			return nil, fmt.Errorf("type at %#x: the types are damaged", addr)
		}
		next := d.queue[len(d.queue)-1]
		d.queue = d.queue[:len(d.queue)-1]
		t := d.types[next]
		d.fill(next, t)
		if t.Kind == Map && d.take(mapImplSize) {
			maps = append(maps, t)
		}
	}
	for _, t := range maps {
		t.Impl = d.file.MapImpl(t.Key, t.Elem)
	}
	return result, nil
}

// reference is the type at an address, which is in the queue if it is new. Where
// there is none, it is Invalid.
func (d *typeData) reference(addr uint64) *Type {
	if t, ok := d.types[addr]; ok {
		return t
	}
	t := &Type{Align: 1}
	d.types[addr] = t
	d.take(int(unsafe.Sizeof(*t)))
	if d.header(addr) != nil {
		d.queue = append(d.queue, addr)
	}
	return t
}

func (d *typeData) fill(addr uint64, t *Type) {
	p := d.header(addr)
	name, ok := d.name(addr, 0)
	if p == nil || !ok {
		return
	}
	kind := kindOf(p)
	t.Name, t.Kind = name, typeKind(kind)
	t.Size, t.Align = int64(binary.LittleEndian.Uint64(p)), int64(p[typeTFlag+1])
	more := p[typeSize:]
	word := func(n int) uint64 {
		if len(more) < 8*(n+1) {
			return 0
		}
		return binary.LittleEndian.Uint64(more[8*n:])
	}
	switch t.Kind {
	case Pointer:
		if kind == reflect.Pointer {
			t.Elem = d.reference(word(0))
		}
	case Slice, Chan:
		t.Elem = d.reference(word(0))
	case Array:
		t.Elem, t.Len = d.reference(word(0)), int64(word(2))
		if t.Len < 0 {
			*t = Type{Align: 1}
		}
	case Map:
		t.Key, t.Elem = d.reference(word(0)), d.reference(word(1))
	case Interface:
		t.Error = name == "error"
		if word(2) == 0 {
			t.Kind = EmptyInterface
		}
	case Struct:
		t.Fields, ok = d.fields(word(1), word(2), t.Size)
		if !ok {
			*t = Type{Align: 1}
		}
	}
}

// fields reads the fields of a struct: each a name, a type, an offset, which
// before Go 1.19 has a bit for embedding.
func (d *typeData) fields(addr, n uint64, size int64) ([]Field, bool) {
	const entry = 24
	if n == 0 {
		return nil, true
	}
	if n > maxFields {
		return nil, false
	}
	p := d.at(addr, n*entry)
	if p == nil || !d.take(int(n)*int(unsafe.Sizeof(Field{}))) {
		return nil, false
	}
	fields := make([]Field, n)
	for i := range fields {
		word := func(n int) uint64 { return binary.LittleEndian.Uint64(p[i*entry+8*n:]) }
		name, flags, ok := d.text(word(0))
		if !ok {
			return nil, false
		}
		offset, embedded := word(2), flags&embeddedFlag != 0
		if d.file.minor < 19 {
			offset, embedded = offset>>1, offset&1 != 0
		}
		if offset > uint64(size) {
			return nil, false
		}
		fields[i] = Field{Name: name, Offset: int64(offset), Type: d.reference(word(1)), Embedded: embedded}
	}
	return fields, true
}
