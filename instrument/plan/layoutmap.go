package plan

import (
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// mapping lays out a map by the runtime's structs for it, which DWARF has for
// each type of map.
func (l *layouter) mapping(t *gobin.Type, depth int) *Node {
	if depth <= 0 {
		return none("a map below the capture depth")
	}
	layout := l.mapLayout(t, depth-1)
	if layout == nil {
		return none("a map whose layout is not known")
	}
	layout.Group.settle()
	return &Node{Kind: Map, Size: wordSize, Map: layout}
}

func (l *layouter) mapLayout(t *gobin.Type, depth int) *MapLayout {
	header := t.Impl
	if header == nil || header.Kind != gobin.Struct || header.Size > chunkMax {
		return nil
	}
	m := &MapLayout{Size: uint32(header.Size)}
	var group *gobin.Type
	if buckets := field(header, "buckets"); buckets != nil {
		old, log2 := field(header, "oldbuckets"), field(header, "B")
		if old == nil || log2 == nil {
			return nil
		}
		m.Buckets, m.Old, m.Log2 = uint32(buckets.Offset), uint32(old.Offset), uint32(log2.Offset)
		group = pointee(buckets)
	} else {
		m.Swiss = true
		dir, length := field(header, "dirPtr"), field(header, "dirLen")
		if dir == nil || length == nil || pointee(dir) == nil {
			return nil
		}
		m.Dir, m.DirLen = uint32(dir.Offset), uint32(length.Offset)
		table := pointee(dir).Elem
		if table == nil || table.Size > chunkMax {
			return nil
		}
		groups := field(table, "groups")
		if groups == nil {
			return nil
		}
		data, mask := field(groups.Type, "data"), field(groups.Type, "lengthMask")
		if data == nil || mask == nil || mask.Offset != data.Offset+wordSize {
			return nil
		}
		m.TableSize, m.Groups = uint32(table.Size), uint32(groups.Offset+data.Offset)
		group = pointee(data)
	}
	m.Group = l.group(group, t, m.Swiss, depth)
	if m.Group == nil {
		return nil
	}
	m.Limit, m.Entries = maxGroups, l.items
	return m
}

// settle decides how the group is read.
func (g *Group) settle() {
	holds, whole := g.Key.text()
	if g.Judged = holds; !whole {
		g.Elem = &Node{Kind: Redacted, Type: g.Elem.Type, Size: g.ElemStride}
	}
	g.KeyBytes, g.ElemBytes = g.Key.Extent(), g.Elem.Extent()
	g.Apart = g.Judged || maxGroups*g.Size > chunkMax || g.Key.secret() || g.Elem.secret()
}

// group lays out a bucket {tophash, keys, values} or a group {ctrl, slots}, in
// some versions {ctrl, keys, elems}, of a map.
func (l *layouter) group(t, of *gobin.Type, swiss bool, depth int) *Group {
	if t == nil || t.Size <= 0 || t.Size > maxGroup {
		return nil
	}
	g := &Group{Size: uint32(t.Size), Swiss: swiss}
	control, keys, elems := field(t, "tophash"), field(t, "keys"), field(t, "values")
	if swiss {
		control, elems = field(t, "ctrl"), field(t, "elems")
	}
	if control == nil {
		return nil
	}
	g.Control = uint32(control.Offset)
	var key, elem *gobin.Type
	switch slots := field(t, "slots"); {
	case slots != nil && slots.Type.Elem != nil:
		slot := slots.Type.Elem
		k, e := field(slot, "key"), field(slot, "elem")
		if k == nil || e == nil {
			return nil
		}
		key, elem = k.Type, e.Type
		g.Keys, g.KeyStride = uint32(slots.Offset+k.Offset), uint32(slot.Size)
		g.Elems, g.ElemStride = uint32(slots.Offset+e.Offset), uint32(slot.Size)
	case keys != nil && elems != nil && keys.Type.Elem != nil && elems.Type.Elem != nil:
		key, elem = keys.Type.Elem, elems.Type.Elem
		g.Keys, g.KeyStride = uint32(keys.Offset), uint32(key.Size)
		g.Elems, g.ElemStride = uint32(elems.Offset), uint32(elem.Size)
	default:
		return nil
	}
	g.elsewhere = elsewhere(elem, of.Elem)
	g.Key, g.Elem = l.slot(key, of.Key, keyDepth, inKey), l.slot(elem, of.Elem, depth, inMemory)
	return g
}

// slot is the node of a key or an element of a type. What is large is not in its
// slot, which has a pointer to it.
func (l *layouter) slot(t, of *gobin.Type, depth int, what where) *Node {
	if !elsewhere(t, of) {
		return l.of(t, depth, what)
	}
	return behind(l.of(of, depth, what))
}

func elsewhere(t, of *gobin.Type) bool {
	return t.Kind == gobin.Pointer && of != nil && of.Kind != gobin.Pointer && of.Size > wordSize
}

// behind is the node of a pointer to what has a node.
func behind(n *Node) *Node {
	if n.Kind == None {
		return &Node{Kind: None, Type: n.Type, Size: wordSize, Reason: n.Reason}
	}
	return &Node{Kind: Pointer, Type: n.Type, Size: wordSize, Elem: n}
}

// field finds a field of a struct.
func field(t *gobin.Type, name string) *gobin.Field {
	if t == nil {
		return nil
	}
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Name == name && f.Type != nil {
			return f
		}
	}
	return nil
}

// pointee is what a field points to. A field of the runtime's generic structs may
// be an unsafe.Pointer.
func pointee(f *gobin.Field) *gobin.Type {
	if f.Type.Kind != gobin.Pointer || strings.HasPrefix(f.Type.Name, "unsafe.") {
		return nil
	}
	return f.Type.Elem
}
