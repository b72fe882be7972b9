package plan

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// A Listing is what is said of a function by List, in JSON as well.
type Listing struct {
	Name   string `json:"name"`
	Symbol string `json:"symbol"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	// Refused is why the function cannot be traced; empty where it can.
	Refused string `json:"refused,omitempty"`
	// Unvalued is why nothing is known of the arguments and results.
	Unvalued string  `json:"unvalued,omitempty"`
	Args     []Value `json:"args,omitempty"`
	Results  []Value `json:"results,omitempty"`
	// Captured are the expressions that are captured in place of Args and Results, by
	// the names of their attributes (`arg.user`); Args and Results are the signature.
	Captured []Value `json:"captured,omitempty"`
	// Entries and Exits are the numbers of probes.
	Entries int `json:"entries"`
	Exits   int `json:"exits"`
	// NeverReturns says that calls end by a panic, runtime.Goexit, or with the process.
	NeverReturns bool `json:"never_returns,omitempty"`
	// EntryCost and ExitCost are what the kernel does at a probe: `emulated`, which is
	// cheap, `single-stepped`, which costs a second trap, or `mixed`.
	EntryCost string `json:"entry_cost,omitempty"`
	ExitCost  string `json:"exit_cost,omitempty"`
	// SingleStepped is how many of the exits are single-stepped.
	SingleStepped int `json:"-"`
	// Inlined is at how many call sites the function was inlined, whose calls make no
	// span, and Sites how many are known, those and direct ones.
	Inlined int `json:"inlined,omitempty"`
	Sites   int `json:"call_sites,omitempty"`
	// Root says that each call of the function begins a trace, since a rule says so.
	Root bool `json:"root,omitempty"`
	// Roots are the calls that the function makes which begin traces, whatever they
	// call: those of a loop that waits for work.
	Roots []Root `json:"roots,omitempty"`
	// Workers are the goroutines that the function may begin which wait for work in
	// another function that is not traced.
	Workers []ListedWorker `json:"workers,omitempty"`
	// AllRoots says that all its calls do, for it is no unit of work: main.main.
	AllRoots bool `json:"all_roots,omitempty"`
}

// A ListedWorker is a goroutine that waits for work.
type ListedWorker struct {
	// Function is the goroutine's first.
	Function string `json:"function"`
	// Roots are the calls that it makes which begin traces.
	Roots []Root `json:"roots"`
}

// A Value is what is said of a parameter or a result.
type Value struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Expression is what of a parameter or a result is captured; empty for all.
	Expression string `json:"expression,omitempty"`
	// Missing is what cannot be captured of it, and why: all of it where the path
	// is the name. Any of it may still be nil, or too long, at run time.
	Missing []Missing `json:"missing,omitempty"`
}

// A Missing is a part of a value that cannot be captured.
type Missing struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// List yields what is said of the functions of a plan, and then of those that were
// refused.
func (p *Plan) List(yield func(Listing) bool) {
	ahead(func(yield func(Listing) bool) { p.list(p.listing, yield) })(yield)
}

// Outline is List without what takes long: what the functions take, return, and do.
func (p *Plan) Outline(yield func(Listing) bool) { p.list(p.outline, yield) }

// list yields what is made of each function, and then those that were refused.
func (p *Plan) list(made func(*Function) Listing, yield func(Listing) bool) {
	for i := range p.Functions {
		if !yield(made(&p.Functions[i])) {
			return
		}
	}
	for i := range p.Skipped {
		s := &p.Skipped[i]
		if !yield(Listing{Name: s.Name, Symbol: s.Symbol, Refused: s.reason(), Inlined: s.Inlining.Inlined, Sites: s.Inlining.Sites}) {
			return
		}
	}
}

// outline is where a function is, and what its probes cost.
func (p *Plan) outline(f *Function) Listing {
	l := Listing{Name: f.Name, Symbol: f.Symbol, File: f.File, Line: f.Line, Entries: len(f.Entries), Exits: len(f.Exits)}
	l.EntryCost, _ = cost(f.Entries)
	l.ExitCost, l.SingleStepped = cost(f.Exits)
	return l
}

func (p *Plan) listing(f *Function) Listing {
	l := p.outline(f)
	l.Unvalued, l.NeverReturns, l.Inlined, l.Sites = f.Unvalued, f.NeverReturns(), f.Inlining.Inlined, f.Inlining.Sites
	l.Args, l.Results = valuesOf(f.Args.Captures), valuesOf(f.Results.Captures)
	l.Root, l.Roots, l.Workers, l.AllRoots = f.Root, f.workRoots(p.File), p.workersOf(f), !f.Adopts
	if f.Args.Explicit {
		l.Args, l.Results = valuesOf(f.declared[0]), valuesOf(f.declared[1])
		l.Captured = append(f.Args.explicit("arg."), f.Results.explicit("ret.")...)
	}
	if !f.Values && l.Unvalued == "" {
		l.Unvalued = p.Unvalued
	}
	return l
}

// reason is Reason with what Inlining knows beyond it.
func (s *Skipped) reason() string {
	switch n := s.Inlining.Inlined; {
	case n == 1:
		return "inlined at its only call site: no call of it is left"
	case n > 1:
		return fmt.Sprintf("inlined at all %d call sites: no call of it is left", n)
	}
	return s.Reason
}

// cost is what the kernel does at sites, and at how many of them it single-steps.
func cost(sites []Site) (class string, singleStepped int) {
	for i := range sites {
		if !sites[i].Emulated {
			singleStepped++
		}
	}
	switch singleStepped {
	case 0:
		if len(sites) == 0 {
			return "", 0
		}
		return "emulated", 0
	case len(sites):
		return "single-stepped", singleStepped
	}
	return "mixed", singleStepped
}

func valuesOf(captures []Capture) []Value {
	values := make([]Value, len(captures))
	for i := range captures {
		c := &captures[i]
		values[i] = Value{Name: c.Name, Type: c.Type, Expression: c.Expression, Missing: c.Node.missing(c.Name, nil)}
	}
	return values
}

// explicit are the expressions among the captures.
func (p *Part) explicit(prefix string) []Value {
	var captures []Capture
	for _, c := range p.Captures {
		if c.Expression != "" {
			c.Name = prefix + c.Name
			captures = append(captures, c)
		}
	}
	return valuesOf(captures)
}

// missing adds what a node leaves out to a list.
func (n *Node) missing(path string, list []Missing) []Missing {
	switch n.Kind {
	case None:
		return append(list, Missing{path, n.Reason})
	case Redacted:
		return append(list, Missing{path, "looks like a secret"})
	case Struct:
		for i := range n.Fields {
			list = n.Fields[i].Node.missing(path+"."+n.Fields[i].Name, list)
		}
		if n.Left > 0 {
			list = append(list, Missing{path, fmt.Sprintf("%d more fields", n.Left)})
		}
	case Pointer, Element, Shape, Entry, Assert:
		return n.Elem.missing(path, list)
	case Slice, Array:
		return n.Elem.missing(path+"[]", list)
	case Map:
		list = n.Map.Group.Key.missing(path+"[key]", list)
		return n.Map.Group.Elem.missing(path+"[]", list)
	}
	return list
}

// Signature is the function as Go declares it, as far as that is known.
func (l *Listing) Signature() string {
	if l.Refused != "" || l.Unvalued != "" {
		return l.Name
	}
	signature := l.Name + "(" + declared(l.Args) + ")"
	switch results := declared(l.Results); {
	case len(l.Results) == 1 && results == l.Results[0].Type:
		signature += " " + results
	case len(l.Results) > 0:
		signature += " (" + results + ")"
	}
	return signature
}

// Returns are the probes at the function's exits: how many, and what they cost.
func (l *Listing) Returns() string {
	switch {
	case l.NeverReturns:
		return "none"
	case l.Exits == 0:
		return "in one" // with the entry
	case l.ExitCost == "mixed":
		return fmt.Sprintf("%d, %d single-stepped", l.Exits, l.SingleStepped)
	}
	return fmt.Sprintf("%d %s", l.Exits, l.ExitCost)
}

// Notes are what else is said of the function: why it cannot be traced, or not
// everywhere, and which values cannot be captured.
func (l *Listing) Notes() []string {
	if l.Refused != "" {
		return []string{"not traced: " + l.Refused}
	}
	var notes []string
	if l.Inlined > 0 {
		notes = append(notes, Inlining{l.Inlined, l.Sites}.String())
	}
	if l.Unvalued != "" {
		notes = append(notes, "no values: "+l.Unvalued)
	}
	if l.NeverReturns {
		notes = append(notes, "it never returns: its calls end by a panic, by runtime.Goexit, or with the process")
	}
	if l.Root {
		notes = append(notes, "each call of it begins a trace (--root)")
	}
	if l.AllRoots {
		notes = append(notes, "all that it calls begins traces: it is no unit of work")
	}
	notes = append(notes, rootNotes(l.Roots)...)
	for i := range l.Workers {
		for _, note := range rootNotes(l.Workers[i].Roots) {
			notes = append(notes, fmt.Sprintf("in goroutines that begin with %s, %s", l.Workers[i].Function, note))
		}
	}
	for _, v := range l.Captured {
		notes = append(notes, strings.TrimRight(fmt.Sprintf("%s = %s  %s", v.Name, v.Expression, v.Type), " "))
		for _, m := range v.Missing {
			notes = append(notes, m.Path+": "+m.Reason)
		}
	}
	for i, values := range [][]Value{l.Args, l.Results} {
		if len(l.Captured) > 0 {
			break // it is captured as the expressions say
		}
		for _, v := range values {
			for _, m := range v.Missing {
				notes = append(notes, fmt.Sprintf("%s %s: %s", [2]string{"arg", "ret"}[i], m.Path, m.Reason))
			}
		}
	}
	return notes
}

// declared are parameters as a declaration has them.
func declared(values []Value) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.Name + " " + v.Type
		if strings.Trim(v.Name, "_0123456789") == "" {
			texts[i] = v.Type // it has no name
		}
	}
	return strings.Join(texts, ", ")
}

// WriteJSON writes List as JSON, an object a line.
func (p *Plan) WriteJSON(w io.Writer) error {
	b := bufio.NewWriter(w)
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	for l := range p.List {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	return b.Flush()
}
