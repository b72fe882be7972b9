package plan

import (
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

// A generic function is compiled once for all types of one shape: their underlying
// type, or any pointer. Which types a call has, the dictionary tells that is its
// hidden argument. It is one of those of the executable, so that what is read for
// each is known beforehand, and found by its address.

// A dictionaryArgument is the hidden argument of one function.
type dictionaryArgument struct {
	fn       *gobin.Function
	register int  // index of the integer argument register
	used     bool // by a node
}

// A shaped is a parameter whose type depends on the dictionary.
type shaped struct {
	names []string // of the dictionaries: gobin.TypeDictionary.Of
	node  *Node
	t     *gobin.Type
	name  string // of the parameter
	what  where
	word  int // of the dictionary, from 0
}

// Bounds of what dictionaries are looked up for. Node.Of of shapes begins above
// those of interfaces.
const (
	shapeBase = 1 << 10
	maxShapes = 1 << 13
)

// dictionaryOf finds the dictionary among the arguments of a function; nil where
// it has none in a register.
func (arch *architecture) dictionaryOf(fn *gobin.Function, sig *gobin.Signature, params []assignment) *dictionaryArgument {
	if !sig.Dictionary || fn.Assembly {
		return nil
	}
	d := &dictionaryArgument{fn: fn}
	if isMethod(fn) && !sig.DictionaryFirst && len(params) > 0 && params[0].registers {
		d.register, _, _ = registersOf(sig.Params[0].Type)
	}
	if d.register >= len(arch.integers) {
		return nil
	}
	return d
}

// shape is the node of a parameter that may be shown by the dictionary of the
// call, or the one that it has by its shape where that makes no difference.
func (l *layouter) shape(n *Node, p *gobin.Param, what where, d *dictionaryArgument) *Node {
	switch n.Kind {
	case None, Redacted, Bool, Uint, Float, Complex, Chan, Func:
		return n
	}
	if len(l.shapes) == maxShapes {
		return n
	}
	d.used = true
	n = &Node{
		Kind: Shape, Type: n.Type, Size: n.Size, Elem: n,
		Of: shapeBase + uint32(len(l.shapes)), Dictionary: uint32(d.register) * wordSize,
	}
	l.shapes = append(l.shapes, shaped{
		names: gobin.DictionaryNames(d.fn), node: n, t: p.Type, name: p.Name, what: what, word: p.DictionaryWord - 1,
	})
	return n
}

// readShapes lays out the types that the shapes among the captures stand for.
func (b *builder) readShapes() {
	shapes := b.layouter.shapes
	if len(shapes) == 0 {
		return
	}
	wanted := make(map[string]bool)
	for i := range shapes {
		for _, name := range shapes[i].names {
			wanted[name] = true
		}
	}
	dictionaries, err := b.file.Dictionaries(wanted)
	if err != nil || len(dictionaries) == 0 {
		return // values are shown by their shapes, then
	}
	types, err := b.file.RuntimeTypes()
	if err != nil {
		return
	}
	byAddr := make(map[uint64]*gobin.RuntimeType, len(types))
	for i := range types {
		byAddr[types[i].Addr] = &types[i]
	}
	byName := make(map[string][]*gobin.TypeDictionary)
	for i := range dictionaries {
		byName[dictionaries[i].Of] = append(byName[dictionaries[i].Of], &dictionaries[i])
	}
	for i := range shapes {
		s := &shapes[i]
		for _, name := range s.names {
			for _, d := range byName[name] {
				if s.word >= len(d.Words) || len(b.plan.Dynamics) >= maxDynamics {
					continue
				}
				if rt := byAddr[d.Words[s.word]]; rt != nil {
					b.instance(s, d.Addr, *rt)
				}
			}
		}
	}
}

// instance adds what a shape is shown as with one dictionary, if its type can have
// that shape: a name stands for dictionaries of others, too.
func (b *builder) instance(s *shaped, dictionary uint64, rt gobin.RuntimeType) {
	t, err := b.file.Type(rt)
	if err != nil || t.Kind != s.t.Kind || t.Size != s.t.Size {
		return
	}
	integers, floats, ok := registersOf(t)
	if i, f, o := registersOf(s.t); s.what == inRegisters && (integers != i || floats != f || ok != o) {
		return
	}
	node := b.layouter.of(t, b.layouter.depth, s.what)
	if b.layouter.secrets.secret(s.name, t, "") {
		node = &Node{Kind: Redacted, Type: t.Name}
	}
	if node.Kind == None || !covers(s.node.ranges(), node.ranges()) {
		return
	}
	b.plan.Dynamics = append(b.plan.Dynamics, Dynamic{
		Type: dictionary, Of: s.node.Of, Direct: true, Node: node, Program: b.compiler.add(b.compiler.follow(node, 0)),
	})
}

// covers says whether the bytes that are read have all of others.
func covers(read, others []span) bool {
	for _, o := range others {
		if !slices.ContainsFunc(read, func(r span) bool { return r.start <= o.start && o.end <= r.end }) {
			return false
		}
	}
	return true
}
