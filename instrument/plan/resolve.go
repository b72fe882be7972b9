package plan

import (
	"fmt"
	"math"
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

// A resolver goes the way of an expression from a parameter or a result to a part
// of it, by their types.
type resolver struct {
	layouter *layouter
	x        Expression
	pkg      string // of the function: its types need no qualifier
	// t is the type of where it has got to: in registers or on the stack, or, once
	// a pointer was followed, in memory behind the last link.
	t     *gobin.Type
	what  where
	at    assignment
	links []link
}

// A link is a pointer that was followed, or that of a slice or a string with an
// index; skip is where what is wanted lies behind the address, in bytes. An Entry
// and an Assert are links, too: skip is in the element or in the value.
type link struct {
	kind  Kind
	index int64
	skip  int64
	t     *gobin.Type       // of the pointer, the slice, the string, the map or the interface
	key   any               // of an Entry: as decoded
	held  gobin.RuntimeType // of an Assert
	to    *gobin.Type
}

// pointers are how many levels of the kernel programs a link takes at most.
func (l *link) pointers() int {
	if l.kind == Entry { // header, directory, table, groups
		return 4
	}
	return 1
}

func (r *resolver) fail(column int, format string, args ...any) *ExpressionError {
	return &ExpressionError{Expression: r.x, Column: column, Problem: fmt.Sprintf(format, args...)}
}

func (r *resolver) secret(column int, name string) *ExpressionError {
	e := r.fail(column, "%s looks like a secret, and those are not read", name)
	e.secret = true
	return e
}

// resolve finds what an expression says of a value: how it is read, and from where.
func (r *resolver) resolve(a *access) (*Node, assignment, *ExpressionError) {
	for _, h := range a.hops {
		if err := r.hop(h); err != nil {
			return nil, r.at, err
		}
	}
	end := a.column
	if n := len(a.hops); n > 0 {
		end = a.hops[n-1].column
	}
	var node *Node
	if a.measure != "" {
		n, err := r.measure(a)
		if err != nil {
			return nil, r.at, err
		}
		node = n
	} else {
		if r.layouter.secrets.secret("", r.t, "") {
			return nil, r.at, r.secret(end, r.t.Name)
		}
		node = r.layouter.of(r.t, r.layouter.depth, r.what)
		if node.Kind == None {
			return nil, r.at, r.fail(end, "cannot be captured: %s", node.Reason)
		}
	}
	pointers := 0
	for i := range r.links {
		pointers += r.links[i].pointers()
	}
	if pointers > maxPointers {
		return nil, r.at, r.fail(end, "it leads along %d pointers, and %d is the most", pointers, maxPointers)
	}
	for _, l := range slices.Backward(r.links) {
		if l.skip > math.MaxInt32 {
			return nil, r.at, r.fail(end, "it lies too far behind a pointer")
		}
		size := uint32(wordSize)
		switch l.kind {
		case Entry:
			entry, problem := r.layouter.entry(&l, node)
			if problem != "" {
				return nil, r.at, r.fail(end, "cannot be captured: %s", problem)
			}
			node = entry
			continue
		case Assert:
			held, problem := r.layouter.assert(&l, node)
			if problem != "" {
				return nil, r.at, r.fail(end, "cannot be captured: %s", problem)
			}
			node = held
			continue
		case Element:
			size = stringSize
		}
		node = &Node{Kind: l.kind, Type: l.t.Name, Size: size, Elem: node, Count: uint32(l.index), Skip: uint32(l.skip)}
	}
	return node, r.at, nil
}

func (r *resolver) hop(h hop) *ExpressionError {
	switch h.kind {
	case hopFollow:
		if r.t.Kind != gobin.Pointer {
			return r.fail(h.column, "%s is no pointer", r.t.Name)
		}
		return r.follow(h.column)
	case hopField:
		return r.field(h)
	case hopAssert:
		return r.assert(h)
	}
	if err := r.followAll(h.column); err != nil {
		return err
	}
	return r.index(h)
}

// follow goes on to what a pointer leads to.
func (r *resolver) follow(column int) *ExpressionError {
	if shapeOfPointer(r.t) || r.t.Elem == nil || r.t.Elem.Kind == gobin.Invalid {
		return r.fail(column, "what %s leads to is not known", r.t.Name)
	}
	r.link(Pointer, 0, 0, r.t.Elem)
	return nil
}

func (r *resolver) followAll(column int) *ExpressionError {
	for r.t.Kind == gobin.Pointer {
		if len(r.links) > maxPointers {
			break // a type that points to itself
		}
		if err := r.follow(column); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) link(kind Kind, index, skip int64, to *gobin.Type) {
	r.links = append(r.links, link{kind: kind, index: index, skip: skip, t: r.t})
	r.t, r.what = to, inMemory
}

// move goes on within the value: by bytes in memory, by registers in those.
func (r *resolver) move(bytes int64, registers int) {
	switch n := len(r.links); {
	case n > 0:
		r.links[n-1].skip += bytes
	case r.what == inRegisters:
		r.at.integer += registers
	default:
		r.at.offset += bytes
	}
}

func (r *resolver) field(h hop) *ExpressionError {
	if err := r.followAll(h.column); err != nil {
		return err
	}
	switch r.t.Kind {
	case gobin.Struct:
	case gobin.Interface, gobin.EmptyInterface:
		return r.fail(h.column, "what the interface %s holds is known when the program runs only: name its type, as in x.(*main.T).%s", r.t.Name, h.name)
	default:
		return r.fail(h.column, "%s has no fields", r.t.Name)
	}
	path, ambiguous := fieldPath(r.t, h.name)
	switch {
	case ambiguous:
		return r.fail(h.column, "%s.%s is ambiguous: several embedded fields have it", r.t.Name, h.name)
	case path == nil:
		e := r.fail(h.column, "%s has no field %s", r.t.Name, h.name)
		e.Near = nearestNames(h.name, fieldNames(r.t))
		return e
	}
	for _, f := range path {
		if err := r.followAll(h.column); err != nil {
			return err
		}
		if r.layouter.secrets.secret(fieldName(f.Name), f.Type, "") {
			return r.secret(h.column, fieldName(f.Name))
		}
		r.enter(f)
	}
	return nil
}

// enter goes on to a field of the struct that has been got to.
func (r *resolver) enter(f *gobin.Field) {
	registers := 0
	if r.what == inRegisters {
		for i := range r.t.Fields {
			if &r.t.Fields[i] == f {
				break
			}
			n, _, _ := registersOf(r.t.Fields[i].Type)
			registers += n
		}
	}
	r.move(f.Offset, registers)
	r.t = f.Type
}

var byteType = &gobin.Type{Name: "uint8", Kind: gobin.Uint, Size: 1, Align: 1}

func (r *resolver) index(h hop) *ExpressionError {
	t := r.t
	switch t.Kind {
	case gobin.Map:
		return r.entry(h)
	case gobin.Array, gobin.Slice, gobin.String:
	default:
		return r.fail(h.column, "%s has no elements", t.Name)
	}
	elem := t.Elem
	if t.Kind == gobin.String {
		elem = byteType
	}
	switch {
	case h.kind == hopKey:
		return r.fail(h.column, "an index of %s is a number", t.Name)
	case h.index < 0:
		return r.fail(h.column, "an index of %s is a number from 0 on", t.Name)
	case elem == nil || elem.Kind == gobin.Invalid || elem.Size < 0:
		return r.fail(h.column, "the elements of %s are of a type that is not known", t.Name)
	case t.Kind == gobin.Array && h.index >= t.Len:
		return r.fail(h.column, "index %d of %d: %s has no such element", h.index, t.Len, t.Name)
	case h.index > math.MaxInt32/max(elem.Size, 1):
		return r.fail(h.column, "an index that large is too far away")
	case t.Kind == gobin.Array:
		r.move(h.index*elem.Size, 0) // in registers there is one element at most
		r.t = elem
	default:
		r.link(Element, h.index, h.index*elem.Size, elem)
	}
	return nil
}

// measure is the length or the capacity of what has been got to.
func (r *resolver) measure(a *access) (*Node, *ExpressionError) {
	if err := r.followAll(a.measureColumn); err != nil {
		return nil, err
	}
	number := &Node{Kind: Int, Type: "int", Size: wordSize}
	capacity := a.measure == "cap"
	switch kind := r.t.Kind; {
	case kind == gobin.String && !capacity, kind == gobin.Slice && !capacity:
		r.move(wordSize, 1)
		return number, nil
	case kind == gobin.Slice:
		r.move(2*wordSize, 2)
		return number, nil
	case kind == gobin.Map && !capacity:
		return &Node{Kind: Len, Type: "int", Size: wordSize}, nil
	case kind == gobin.Chan:
		n := &Node{Kind: Len, Type: "int", Size: wordSize}
		if capacity {
			n.Skip = wordSize
		}
		return n, nil
	case kind == gobin.Array:
		return nil, r.fail(a.measureColumn, "the %s of %s is always %d", a.measure, r.t.Name, r.t.Len)
	}
	return nil, r.fail(a.measureColumn, "%s has no %s", r.t.Name, a.measure)
}

// maxEmbedded bounds how deep embedded structs lie in each other.
const maxEmbedded = 8

// fieldPath finds a field as Go does: the one with the fewest embedded structs
// around it. ambiguous says that there are several of those.
func fieldPath(t *gobin.Type, name string) (path []*gobin.Field, ambiguous bool) {
	type embedded struct {
		t    *gobin.Type
		path []*gobin.Field
	}
	seen := map[*gobin.Type]bool{t: true}
	level := []embedded{{t: t}}
	for range maxEmbedded {
		var next []embedded
		for _, e := range level {
			for i := range e.t.Fields {
				f := &e.t.Fields[i]
				if f.Type == nil {
					continue
				}
				if fieldName(f.Name) == name && name != "_" {
					ambiguous = ambiguous || path != nil
					path = append(slices.Clone(e.path), f)
				}
				inner := f.Type
				if inner.Kind == gobin.Pointer {
					inner = inner.Elem
				}
				if f.Embedded && inner != nil && inner.Kind == gobin.Struct && !seen[inner] {
					seen[inner] = true
					next = append(next, embedded{inner, append(slices.Clone(e.path), f)})
				}
			}
		}
		if path != nil || len(next) == 0 {
			return path, ambiguous
		}
		level = next
	}
	return nil, false
}

// fieldNames are the names of a struct's fields, and of those of embedded structs.
func fieldNames(t *gobin.Type) []string {
	var names []string
	for i := range t.Fields {
		f := &t.Fields[i]
		names = append(names, fieldName(f.Name))
		if f.Embedded && f.Type != nil && f.Type.Kind == gobin.Struct {
			for j := range f.Type.Fields {
				names = append(names, fieldName(f.Type.Fields[j].Name))
			}
		}
	}
	return names
}
