package plan

import (
	"fmt"
	"math"
	"strconv"

	"github.com/uspan/uspan/instrument/gobin"
)

// An expression may go on to an entry of a map. Where that is only the program can
// tell, by its hash; but what of a map is read for its own sake has the entry in it,
// unless the map is large.

// entry goes on to the entry of a map that has a constant for its key.
func (r *resolver) entry(h hop) *ExpressionError {
	key, elem := r.t.Key, r.t.Elem
	switch {
	case key == nil || elem == nil || key.Kind == gobin.Invalid || elem.Kind == gobin.Invalid || r.t.Impl == nil:
		return r.fail(h.column, "the layout of %s is not known", r.t.Name)
	case elem.Size < 0 || elem.Size > chunkMax:
		return r.fail(h.column, "the elements of %s are too large", r.t.Name)
	}
	want, problem := h.key, ""
	switch text, isText := h.key.(string); {
	case h.kind == hopIndex && (key.Kind == gobin.Int || key.Kind == gobin.Uint):
		want = h.index
		if !holds(key, h.index) {
			problem = fmt.Sprintf("%d is no key of %s: its keys are of type %s", h.index, r.t.Name, key.Name)
		}
	case isText && key.Kind == gobin.String:
		if r.layouter.secrets.Has(text) {
			return r.secret(h.column, strconv.Quote(text))
		}
		if len(text) > int(r.layouter.stringBytes) {
			problem = fmt.Sprintf("of a key, %d bytes are read", r.layouter.stringBytes)
		}
	case h.kind == hopKey && !isText && key.Kind == gobin.Bool:
	case key.Kind == gobin.String, key.Kind == gobin.Int, key.Kind == gobin.Uint, key.Kind == gobin.Bool:
		problem = fmt.Sprintf("a key of %s is of type %s", r.t.Name, key.Name)
	default:
		problem = fmt.Sprintf("a key of %s is of type %s: entries with strings, whole numbers and bools for keys can be captured", r.t.Name, key.Name)
	}
	if problem != "" {
		return r.fail(h.column, "%s", problem)
	}
	r.links = append(r.links, link{kind: Entry, t: r.t, key: want})
	r.t, r.what = elem, inMemory
	return nil
}

// holds says whether a number is one of a type of whole numbers.
func holds(t *gobin.Type, n int64) bool {
	bits := 8 * t.Size
	if t.Kind == gobin.Uint {
		return n >= 0 && (bits == 64 || n>>bits == 0)
	}
	return n<<(64-bits)>>(64-bits) == n
}

// entry is the node of an entry, of whose element node is a part.
func (l *layouter) entry(at *link, node *Node) (entry *Node, problem string) {
	layout := l.mapLayout(at.t, 1)
	if layout == nil {
		return nil, "the layout of the map is not known"
	}
	switch layout.Group.Key.Kind {
	case String, Int, Uint, Bool:
	default: // shown in another way than the constant
		return nil, "keys of type " + layout.Group.Key.Type + " are not looked up"
	}
	part, problem := partOf(node, at.skip, at.t.Elem.Size)
	if problem != "" {
		return nil, problem
	}
	if layout.Group.elsewhere {
		part = behind(part)
	}
	layout.Group.Elem = part
	layout.Group.settle()
	layout.Entries = math.MaxUint32
	return &Node{Kind: Entry, Type: at.t.Name, Size: wordSize, Map: layout, Elem: part, Key: at.key}, ""
}

// partOf is a value of so many bytes of which a node at an offset alone is read: a
// struct of one field.
func partOf(node *Node, skip, size int64) (part *Node, problem string) {
	if end := skip + int64(node.Extent()); size > math.MaxInt32 || end > chunkMax {
		return nil, fmt.Sprintf("it lies beyond the first %d bytes", chunkMax)
	}
	return &Node{Kind: Struct, Size: uint32(size), Fields: []Field{{Offset: uint32(skip), Node: node}}}, ""
}
