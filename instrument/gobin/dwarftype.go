package gobin

import (
	"debug/dwarf"
	"fmt"
	"reflect"
)

// Attributes of the Go linker (cmd/internal/dwarf/dwarf.go).
const (
	attrGoKind     dwarf.Attr = 0x2900 // a reflect.Kind
	attrGoKey      dwarf.Attr = 0x2901
	attrGoElem     dwarf.Attr = 0x2902
	attrGoEmbedded dwarf.Attr = 0x2903
	attrGoRuntime  dwarf.Attr = 0x2904 // where its runtime data is among the types
	attrGoDict     dwarf.Attr = 0x2906 // of a type parameter: where its type is in the dictionary
)

// Bounds that only a damaged file passes.
const (
	maxTypes  = 1 << 20
	maxFields = 1 << 14
	maxParams = 1 << 10
)

// A typeTable holds the types that were read, by the offset of their entry. It
// fills from a queue rather than by recursion: types refer to each other in
// circles, and in a damaged file to any depth.
type typeTable struct {
	byOffset map[dwarf.Offset]*Type
	queue    []pendingType
	aliases  map[*Type]*Type // a typedef and what it stands for, until resolved
	fresh    []*Type         // read since the last resolve
}

type pendingType struct {
	offset dwarf.Offset
	into   *Type
}

// readType returns the type at offset with all that it refers to. The caller
// holds d.mu.
func (d *debugInfo) readType(offset dwarf.Offset) (*Type, error) {
	t := &d.types
	if t.byOffset == nil {
		t.byOffset = map[dwarf.Offset]*Type{}
	}
	t.aliases = map[*Type]*Type{}
	result := t.at(offset)
	for len(t.queue) > 0 {
		if len(t.byOffset) > maxTypes {
			*t = typeTable{}
			return nil, fmt.Errorf("type at %#x: it refers to more than %d others", offset, maxTypes)
		}
		next := t.queue[len(t.queue)-1]
		t.queue = t.queue[:len(t.queue)-1]
		t.fresh = append(t.fresh, next.into)
		if err := d.fillType(next); err != nil {
			// What is half read must not be found again.
			*t = typeTable{}
			return nil, fmt.Errorf("type at %#x: %w", next.offset, err)
		}
	}
	for _, alias := range t.fresh {
		t.resolve(alias)
	}
	for _, fresh := range t.fresh {
		align(fresh, 0)
	}
	t.fresh = nil
	return result, nil
}

// at is the type of that offset, which is in the queue if it is new.
func (t *typeTable) at(offset dwarf.Offset) *Type {
	if known, ok := t.byOffset[offset]; ok {
		return known
	}
	into := new(Type)
	t.byOffset[offset] = into
	t.queue = append(t.queue, pendingType{offset, into})
	return into
}

// resolve gives a typedef the contents of what it stands for.
func (t *typeTable) resolve(alias *Type) {
	const maxChain = 16
	target, ok := t.aliases[alias]
	if !ok {
		return
	}
	for range maxChain {
		further, ok := t.aliases[target]
		if !ok {
			break
		}
		target = further
	}
	name := alias.Name
	*alias = *target
	if name != "" {
		alias.Name = name
	}
}

func (d *debugInfo) fillType(p pendingType) error {
	e, err := d.only(p.offset)
	if err != nil {
		return err
	}
	t := p.into
	t.Name, _ = e.Val(dwarf.AttrName).(string)
	t.Size, _ = e.Val(dwarf.AttrByteSize).(int64)
	underlying, hasUnderlying := e.Val(dwarf.AttrType).(dwarf.Offset)
	number, _ := e.Val(attrGoKind).(int64)
	kind := reflect.Kind(number)
	hasKind := kind != reflect.Invalid
	switch {
	case e.Tag == dwarf.TagTypedef && !hasKind && hasUnderlying:
		if len(t.Name) > 0 && t.Name[0] == '.' {
			t.Name = "" // `.param0`: a type parameter, known by its shape
		}
		d.types.aliases[t] = d.types.at(underlying)
		return nil
	case !hasKind:
		kind = baseKind(e)
	}
	t.Kind = typeKind(kind)
	switch t.Kind {
	case Pointer:
		t.Size = 8
		if hasUnderlying && kind == reflect.Pointer {
			t.Elem = d.types.at(underlying)
		}
	case Map, Chan:
		t.Size = 8
		if key, ok := e.Val(attrGoKey).(dwarf.Offset); ok {
			t.Key = d.types.at(key)
		}
		if elem, ok := e.Val(attrGoElem).(dwarf.Offset); ok {
			t.Elem = d.types.at(elem)
		}
		if t.Kind == Map && hasUnderlying {
			return d.fillImpl(t, underlying)
		}
	case Func:
		t.Size = 8
	case Slice:
		t.Size = 24
		if elem, ok := e.Val(attrGoElem).(dwarf.Offset); ok {
			t.Elem = d.types.at(elem)
		}
	case Array:
		if hasUnderlying {
			t.Elem = d.types.at(underlying)
		}
		return children(e, d.reader, func(child *dwarf.Entry) error {
			if n, ok := child.Val(dwarf.AttrCount).(int64); ok {
				t.Len = n
			} else if last, ok := child.Val(dwarf.AttrUpperBound).(int64); ok {
				t.Len = last + 1
			}
			return nil
		})
	case Struct:
		return children(e, d.reader, func(child *dwarf.Entry) error {
			return d.addField(t, child)
		})
	case Interface:
		t.Size = 16
		t.Error = t.Name == "error"
		if empty, err := d.isEmptyInterface(e); err != nil {
			return err
		} else if empty {
			t.Kind = EmptyInterface
		}
	}
	return nil
}

// fillImpl finds the struct that a map points to: its entry refers to a pointer.
func (d *debugInfo) fillImpl(t *Type, pointer dwarf.Offset) error {
	e, err := d.only(pointer)
	if err != nil {
		return err
	}
	if impl, ok := e.Val(dwarf.AttrType).(dwarf.Offset); ok && e.Tag == dwarf.TagPointerType {
		t.Impl = d.types.at(impl)
	}
	return nil
}

func (d *debugInfo) addField(t *Type, e *dwarf.Entry) error {
	if e.Tag != dwarf.TagMember {
		return nil
	}
	name, _ := e.Val(dwarf.AttrName).(string)
	offset, _ := e.Val(dwarf.AttrDataMemberLoc).(int64)
	typ, ok := e.Val(dwarf.AttrType).(dwarf.Offset)
	if !ok {
		return fmt.Errorf("field %q has no type", name)
	}
	if len(t.Fields) == maxFields {
		return fmt.Errorf("it has more than %d fields", maxFields)
	}
	embedded, _ := e.Val(attrGoEmbedded).(bool)
	t.Fields = append(t.Fields, Field{Name: name, Offset: offset, Type: d.types.at(typ), Embedded: embedded})
	return nil
}

// isEmptyInterface says whether an interface type stands for runtime.eface
// rather than for runtime.iface, through typedefs.
func (d *debugInfo) isEmptyInterface(e *dwarf.Entry) (bool, error) {
	for range 4 {
		offset, ok := e.Val(dwarf.AttrType).(dwarf.Offset)
		if !ok {
			return false, nil
		}
		next, err := d.only(offset)
		if err != nil {
			return false, err
		}
		switch name, _ := next.Val(dwarf.AttrName).(string); name {
		case "runtime.eface":
			return true, nil
		case "runtime.iface":
			return false, nil
		}
		e = next
	}
	return false, nil
}

// typeKind makes our kinds of reflect's.
func typeKind(kind reflect.Kind) TypeKind {
	switch kind {
	case reflect.Bool:
		return Bool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Int
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return Uint
	case reflect.Float32, reflect.Float64:
		return Float
	case reflect.Complex64, reflect.Complex128:
		return Complex
	case reflect.Array:
		return Array
	case reflect.Chan:
		return Chan
	case reflect.Func:
		return Func
	case reflect.Interface:
		return Interface
	case reflect.Map:
		return Map
	case reflect.Pointer, reflect.UnsafePointer:
		return Pointer
	case reflect.Slice:
		return Slice
	case reflect.String:
		return String
	case reflect.Struct:
		return Struct
	}
	return Invalid
}

// baseKind is the kind of an entry that has no attribute for it.
func baseKind(e *dwarf.Entry) reflect.Kind {
	const boolean, complexFloat, float, signed, signedChar, unsigned, unsignedChar = 2, 3, 4, 5, 6, 7, 8
	switch e.Tag {
	case dwarf.TagPointerType:
		return reflect.Pointer
	case dwarf.TagStructType:
		return reflect.Struct
	case dwarf.TagArrayType:
		return reflect.Array
	case dwarf.TagSubroutineType:
		return reflect.Func
	case dwarf.TagBaseType:
		switch encoding, _ := e.Val(dwarf.AttrEncoding).(int64); encoding {
		case boolean:
			return reflect.Bool
		case complexFloat:
			return reflect.Complex128
		case float:
			return reflect.Float64
		case signed, signedChar:
			return reflect.Int
		case unsigned, unsignedChar:
			return reflect.Uint
		}
	}
	return reflect.Invalid
}

// align sets the alignment, which DWARF does not tell, as the compiler has it on
// 64-bit architectures.
func align(t *Type, depth int) int64 {
	const maxDepth = 64 // of arrays and structs in each other
	if t.Align > 0 || depth > maxDepth {
		return max(t.Align, 1)
	}
	switch t.Kind {
	case Bool, Int, Uint, Float:
		t.Align = max(t.Size, 1)
	case Complex:
		t.Align = max(t.Size/2, 1)
	case Array:
		t.Align = 1
		if t.Elem != nil {
			t.Align = align(t.Elem, depth+1)
		}
	case Struct:
		most := int64(1)
		for _, field := range t.Fields {
			most = max(most, align(field.Type, depth+1))
		}
		t.Align = most
	case Invalid:
		t.Align = 1
	default:
		t.Align = 8
	}
	return t.Align
}
