package plan

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

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
		return r.fail(h.column, "what the interface %s holds is known when the program runs only: name its type, as in %s.(*main.T).%s", r.t.Name, "x", h.name)
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

// A ruled expression is one of the rules, with what came of it so far.
type ruled struct {
	Expression
	access
	worked bool
	err    *ExpressionError
}

// A captureRule is what the rules say of the functions that a pattern matches.
type captureRule struct {
	pattern
	list  []*ruled
	found bool // a function that is traced
}

// readExpressions parses those of the rules.
func (b *builder) readExpressions() error {
	for _, e := range b.rules.Expressions {
		if err := e.check(b.layouter.secrets); err != nil {
			return err
		}
		p, err := parsePattern(e.Pattern)
		if err != nil {
			return err
		}
		rule := &captureRule{pattern: p}
		for _, x := range e.List {
			a, err := parseExpression(x)
			if err != nil {
				return err
			}
			rule.list = append(rule.list, &ruled{Expression: x, access: a})
		}
		b.captureRules = append(b.captureRules, rule)
	}
	return nil
}

// expressionsOf are those for a function; nil where the rules have none.
func (b *builder) expressionsOf(fn *gobin.Function) []*ruled {
	var list []*ruled
	for _, rule := range b.captureRules {
		if rule.match(fn) {
			rule.found = true
			list = append(list, rule.list...)
		}
	}
	return list
}

// checkExpressions makes an error of a pattern that leads to no function that is
// traced, and of an expression that fits none.
func (b *builder) checkExpressions() error {
	for _, rule := range b.captureRules {
		if !rule.found {
			return b.unmatched(&rule.pattern, "of captures")
		}
		for _, x := range rule.list {
			if !x.worked && x.err != nil {
				return x.err
			}
		}
	}
	return nil
}

// unvalued notes that the expressions for a function cannot be checked.
func unvalued(list []*ruled, fn *gobin.Function, reason string) {
	for _, x := range list {
		x.note(&ExpressionError{Expression: x.Expression, Function: fn.Name, Column: x.column, Problem: "its type is not known: " + reason})
	}
}

// note keeps the error of the function that the expression fits best.
func (x *ruled) note(err *ExpressionError) {
	if x.err == nil || err.Column > x.err.Column {
		x.err = err
	}
}

// explicit lays out what expressions say of a function, as capture does all of
// its parameters. Where one does not fit the function, its capture says why.
func (l *layouter) explicit(arch *architecture, fn *gobin.Function, sig *gobin.Signature, list []*ruled) (args, results Part) {
	params, rets, _ := arch.assign(sig, isMethod(fn), fn.Assembly)
	args.Explicit, results.Explicit = true, true
	var at [2][]assignment
	used := make(map[string]bool, len(list))
	for _, x := range list {
		i, isResult, err := x.find(sig)
		part, from, where := &args, sig.Params, params
		returnedBy, n := "", 0
		if isResult {
			part, from, where, returnedBy, n = &results, sig.Results, rets, base(fn), 1
		}
		c := Capture{Name: x.Name, Expression: x.Text}
		var place assignment
		switch {
		case used[x.Name]:
			err = &ExpressionError{Expression: x.Expression, Problem: "there are two captures of that name"}
		case err == nil:
			c.Node, c.Type, place, err = l.resolve(x, fn, &from[i], where[i], returnedBy)
		}
		used[x.Name] = true
		if err != nil {
			err.Function = fn.Name
			x.note(err)
			c.Node = none("%s", err.Problem)
			if err.secret {
				c.Node = &Node{Kind: Redacted}
			}
		} else {
			x.worked = true
		}
		part.Captures = append(part.Captures, c)
		at[n] = append(at[n], place)
	}
	if n := len(sig.Results) - 1; n >= 0 && sig.Results[n].Type != nil && sig.Results[n].Type.Error && !rets[n].unknown {
		c := l.one(&sig.Results[n], rets[n], base(fn), nil)
		c.Status = true
		results.Captures = append(results.Captures, c)
		at[1] = append(at[1], rets[n])
	}
	args.place(at[0])
	results.place(at[1])
	return args, results
}

// find finds the parameter or the result that an expression begins with: by its
// name, or as `arg0` or `ret0`.
func (x *ruled) find(sig *gobin.Signature) (i int, result bool, err *ExpressionError) {
	var names []string
	for n, params := range [][]gobin.Param{sig.Params, sig.Results} {
		for i := range params {
			if params[i].Name == x.root && x.root != "" {
				return i, n == 1, nil
			}
			if params[i].Name != "" {
				names = append(names, params[i].Name)
			} else {
				names = append(names, [2]string{"arg", "ret"}[n]+strconv.Itoa(i))
			}
		}
	}
	for n, prefix := range []string{"arg", "ret"} {
		digits, ok := strings.CutPrefix(x.root, prefix)
		i, err := strconv.ParseUint(digits, 10, 16)
		if ok && err == nil && int(i) < len([2][]gobin.Param{sig.Params, sig.Results}[n]) {
			return int(i), n == 1, nil
		}
	}
	e := &ExpressionError{Expression: x.Expression, Column: x.column, Problem: fmt.Sprintf("there is no parameter and no result %s", x.root)}
	e.Near = nearestNames(x.root, names)
	return 0, false, e
}

func (l *layouter) resolve(x *ruled, fn *gobin.Function, p *gobin.Param, at assignment, returnedBy string) (*Node, string, assignment, *ExpressionError) {
	r := resolver{layouter: l, x: x.Expression, pkg: fn.Package, t: p.Type, at: at}
	if at.registers {
		r.what = inRegisters
	}
	switch {
	case p.Type == nil || p.Type.Kind == gobin.Invalid:
		return nil, "", at, r.fail(x.column, "its type is not known")
	case at.unknown:
		return nil, "", at, r.fail(x.column, "its place is not known: a type before it cannot be read")
	case l.secrets.secret(p.Name, p.Type, returnedBy):
		return nil, "", at, r.secret(x.column, x.root)
	}
	node, place, err := r.resolve(&x.access)
	if err != nil {
		return nil, "", at, err
	}
	name := r.t.Name
	if x.measure != "" {
		name = "int"
	}
	return node, name, place, nil
}
