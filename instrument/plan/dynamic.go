package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// maxDynamics bounds the types whose values are read behind interfaces.
const maxDynamics = 1 << 15

// addresses are the types of package net that are a net.Addr.
var addresses = map[string]bool{"*net.TCPAddr": true, "*net.UDPAddr": true, "*net.UnixAddr": true, "*net.IPAddr": true}

// ReadDynamics completes a plan that is to be attached: it lays out the types
// that interfaces may hold, of which there may be thousands, and those of type
// parameters. Only the first call does something.
func (p *Plan) ReadDynamics() {
	if b := p.builder; b != nil {
		p.builder = nil
		if b.rules.Durations {
			p.errorString(b.file)
			return
		}
		b.readShapes()
		b.readAsserted()
		b.dynamics()
		p.Steps = b.compiler.steps
	}
}

// dynamics lays out the types that the interfaces among the captures may hold,
// and those that these hold in turn. Of errors they are the types that have the
// method; of other interfaces, all.
func (b *builder) dynamics() {
	var types []gobin.RuntimeType
	errors := errorTypes(b.functions)
	done := make(map[uint32]bool)
	for n := 0; n < len(b.compiler.steps); n++ {
		of := b.compiler.steps[n].Limit
		if b.compiler.steps[n].Op != FollowInterface || done[of] || of >= assertBase {
			continue
		}
		done[of] = true
		if types == nil {
			var err error
			if types, err = b.file.RuntimeTypes(); err != nil {
				return // interfaces show their types, then
			}
		}
		for i := range types {
			switch {
			case of == ofError && !errors[withoutTypes(strings.TrimPrefix(types[i].Name, "*"))]:
				continue
			case of == ofKey && !comparable(types[i].Name):
				continue
			case of == ofAddr && !addresses[types[i].Name]:
				continue
			}
			if len(b.plan.Dynamics) < maxDynamics {
				b.dynamic(types[i], of)
			}
		}
	}
	slices.SortFunc(b.plan.Dynamics, func(x, y Dynamic) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), cmp.Compare(x.Of, y.Of))
	})
}

func (b *builder) dynamic(rt gobin.RuntimeType, of uint32) {
	t, err := b.file.Type(rt)
	if err != nil || t.Kind == gobin.Invalid || t.Kind == gobin.Interface || t.Kind == gobin.EmptyInterface {
		return
	}
	depth, what := int(of), inMemory
	switch of {
	case ofKey:
		depth, what = keyDepth, inKey
	case ofError, ofAddr:
		depth = 1
	}
	node := b.layouter.of(t, depth, what)
	if node.Extent() > chunkMax-wordSize {
		node = none("more than %d bytes long", chunkMax-wordSize)
	}
	b.plan.Dynamics = append(b.plan.Dynamics, b.compileDynamic(rt, of, t, node))
}

// compileDynamic is what is read of values of a type, by a node.
func (b *builder) compileDynamic(rt gobin.RuntimeType, of uint32, t *gobin.Type, node *Node) Dynamic {
	d := Dynamic{Type: rt.Addr, Of: of, Direct: direct(t), Node: node}
	if of == ofKey {
		_, whole := node.text()
		d.Unseen = !whole
	}
	if node.Kind == None {
		// nothing to be read: whoever decodes says why
	} else if d.Direct {
		d.Program = b.compiler.add(b.compiler.follow(node, 0))
	} else {
		e := b.compiler.element(node)
		d.Program, d.Whole, d.Size = e.Program, e.whole, e.size
	}
	return d
}

// comparable says by its name whether a type can be that of a key.
func comparable(name string) bool {
	return !strings.HasPrefix(name, "[]") && !strings.HasPrefix(name, "map[") && !strings.HasPrefix(name, "func(")
}

// direct says whether an interface holds a value of the type itself: it is a
// pointer in the end (cmd/compile/internal/types.IsDirectIface).
func direct(t *gobin.Type) bool {
	switch t.Kind {
	case gobin.Pointer, gobin.Chan, gobin.Map, gobin.Func:
		return true
	case gobin.Array:
		return t.Len == 1 && t.Elem != nil && direct(t.Elem)
	case gobin.Struct:
		return len(t.Fields) == 1 && t.Fields[0].Type != nil && direct(t.Fields[0].Type)
	}
	return false
}

// errorTypes are the names of types that have a method Error.
func errorTypes(functions []gobin.Function) map[string]bool {
	names := make(map[string]bool)
	for i := range functions {
		receiver, ok := strings.CutSuffix(functions[i].Name, ".Error")
		if !ok {
			continue
		}
		receiver = withoutTypes(receiver)
		if at := strings.Index(receiver, ".(*"); at >= 0 { // pkg.(*T)
			receiver = receiver[:at+1] + strings.TrimSuffix(receiver[at+3:], ")")
		}
		names[receiver] = true
	}
	return names
}
