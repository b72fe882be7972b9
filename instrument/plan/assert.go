package plan

import (
	"reflect"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// An expression may say which type an interface holds, as Go's type assertions do:
// where it holds another one, that is said in place of a value.

// Node.Of of asserted types lies between those of interfaces and of shapes.
const (
	assertBase = 1 << 8
	maxAsserts = shapeBase - assertBase
)

// An asserted is what is read of one type in an interface.
type asserted struct {
	held gobin.RuntimeType
	t    *gobin.Type
	of   uint32
	node *Node
}

// assert goes on to the value that an interface holds.
func (r *resolver) assert(h hop) *ExpressionError {
	for r.t.Kind == gobin.Pointer { // to an interface
		if err := r.follow(h.column); err != nil {
			return err
		}
		if len(r.links) > maxPointers {
			break
		}
	}
	if r.t.Kind != gobin.Interface && r.t.Kind != gobin.EmptyInterface {
		return r.fail(h.column, "%s is no interface", r.t.Name)
	}
	held, t, near, problem := r.layouter.held(h.name, r.pkg)
	if problem != "" {
		err := r.fail(h.column, "%s", problem)
		err.Near = near
		return err
	}
	if r.layouter.secrets.secret("", t, "") {
		return r.secret(h.column, t.Name)
	}
	r.links = append(r.links, link{kind: Assert, t: r.t, held: held, to: t})
	r.t, r.what = t, inMemory
	return nil
}

// assert is the node of an interface that holds a value of which node is a part.
func (l *layouter) assert(at *link, node *Node) (held *Node, problem string) {
	if len(l.asserted) == maxAsserts {
		return nil, "there are too many type assertions"
	}
	part, problem := partOf(node, at.skip, at.to.Size)
	if problem != "" {
		return nil, problem
	}
	of := assertBase + uint32(len(l.asserted))
	l.asserted = append(l.asserted, asserted{at.held, at.to, of, part})
	return &Node{
		Kind: Assert, Type: at.t.Name, Size: interfaceSize, Empty: at.t.Kind == gobin.EmptyInterface, Of: of, Elem: part,
	}, ""
}

// held finds the type that a type assertion in a function of a package names:
// `*T`, `pkg.T`. Only types that the executable has data of can be in an interface.
func (b *builder) held(text, pkg string) (held gobin.RuntimeType, t *gobin.Type, near []string, problem string) {
	if b.runtimeTypes == nil {
		types, err := b.file.RuntimeTypes()
		if err != nil {
			return held, nil, nil, "the types of the executable are not known: " + err.Error()
		}
		b.runtimeTypes = types
	}
	stars := len(text) - len(strings.TrimLeft(text, "*"))
	name := text[stars:]
	var found []gobin.RuntimeType
types:
	for _, rt := range b.runtimeTypes {
		switch bare, short := typeNames(rt.Name, stars); {
		case bare == "":
		case bare == pkg+"."+name: // whatever other packages have
			found = []gobin.RuntimeType{rt}
			break types
		case bare == name || short == name:
			found = append(found, rt)
		}
	}
	if len(found) == 0 {
		return held, nil, b.nearestTypes(text), "no value of type " + text + " can be in an interface: the executable has no such type"
	}
	if slices.ContainsFunc(found, func(rt gobin.RuntimeType) bool { return rt.Name != found[0].Name }) {
		near = nil
		for _, rt := range found {
			near = append(near, rt.Name)
		}
		return held, nil, near, "several types are called " + text
	}
	t, err := b.file.Type(found[0])
	if err != nil {
		return held, nil, nil, err.Error()
	}
	if t.Kind == gobin.Interface || t.Kind == gobin.EmptyInterface {
		return held, nil, nil, text + " is an interface: name the type of what is held, such as *main.T"
	}
	return found[0], t, nil, ""
}

// typeNames are the name of a type behind that many stars, with its import path
// and without; empty where there are more of them, or fewer.
func typeNames(name string, stars int) (bare, short string) {
	bare = strings.TrimLeft(name, "*")
	if len(name)-len(bare) != stars {
		return "", ""
	}
	return bare, bare[strings.LastIndexByte(withoutTypes(bare), '/')+1:]
}

// nearestTypes are the types that an interface may hold whose name is that of a
// type in another package, or else nearest to it.
func (b *builder) nearestTypes(text string) []string {
	name := strings.TrimLeft(text, "*")
	stars := len(text) - len(name)
	var same, names []string
	for _, rt := range b.runtimeTypes {
		bare, short := typeNames(rt.Name, stars)
		if bare == "" {
			continue
		}
		if kind, err := b.file.TypeKind(rt.Addr); err != nil || kind == reflect.Interface {
			continue
		}
		if afterDot(short) == afterDot(name) {
			same = append(same, rt.Name)
		}
		names = append(names, text[:stars]+short)
	}
	if len(same) > 0 {
		return same[:min(len(same), maxNear)]
	}
	return nearNames(text, names)
}

// afterDot is a type's name without its package.
func afterDot(name string) string {
	return name[strings.LastIndexByte(withoutTypes(name), '.')+1:]
}

// readAsserted adds the types that expressions say interfaces hold.
func (b *builder) readAsserted() {
	for _, a := range b.layouter.asserted {
		b.plan.Dynamics = append(b.plan.Dynamics, b.compileDynamic(a.held, a.of, a.t, a.node))
	}
}
