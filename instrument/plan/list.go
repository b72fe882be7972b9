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
	// Roots is which calls that the function makes begin traces, and why; empty
	// where none does.
	Roots string `json:"roots,omitempty"`
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
	for i := range p.Functions {
		f := &p.Functions[i]
		l := Listing{
			Name: f.Name, Symbol: f.Symbol, File: f.File, Line: f.Line, Unvalued: f.Unvalued,
			Args: valuesOf(f.Args.Captures), Results: valuesOf(f.Results.Captures), Entries: len(f.Entries), Exits: len(f.Exits),
			Roots: f.roots(),
		}
		if f.Args.Explicit {
			l.Args, l.Results = valuesOf(f.declared[0]), valuesOf(f.declared[1])
			l.Captured = append(f.Args.explicit("arg."), f.Results.explicit("ret.")...)
		}
		if !f.Values && l.Unvalued == "" {
			l.Unvalued = p.Unvalued
		}
		if !yield(l) {
			return
		}
	}
	for i := range p.Skipped {
		s := &p.Skipped[i]
		if !yield(Listing{Name: s.Name, Symbol: s.Symbol, Refused: s.Reason}) {
			return
		}
	}
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
	case Pointer, Element, Shape:
		return n.Elem.missing(path, list)
	case Slice, Array:
		return n.Elem.missing(path+"[]", list)
	case Map:
		list = n.Map.Group.Key.missing(path+"[key]", list)
		return n.Map.Group.Elem.missing(path+"[]", list)
	}
	return list
}

// WriteList writes List for people: a line for each function as Go declares it,
// below it what cannot be captured.
func (p *Plan) WriteList(w io.Writer) error {
	out := bufio.NewWriter(w)
	var b strings.Builder
	for l := range p.List {
		b.Reset()
		l.write(&b)
		if _, err := out.WriteString(b.String()); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (l *Listing) write(b *strings.Builder) {
	b.WriteString(l.Name)
	if l.Refused != "" {
		fmt.Fprintf(b, "\n    not traced: %s\n", l.Refused)
		return
	}
	if l.Unvalued == "" {
		fmt.Fprintf(b, "(%s)", declared(l.Args))
		switch results := declared(l.Results); {
		case len(l.Results) == 1 && results == l.Results[0].Type:
			b.WriteString(" " + results)
		case len(l.Results) > 0:
			b.WriteString(" (" + results + ")")
		}
	}
	if l.File != "" {
		fmt.Fprintf(b, "  %s:%d", l.File, l.Line)
	}
	b.WriteByte('\n')
	if l.Unvalued != "" {
		fmt.Fprintf(b, "    no values: %s\n", l.Unvalued)
	}
	if l.Roots != "" {
		fmt.Fprintf(b, "    %s\n", l.Roots)
	}
	for _, v := range l.Captured {
		b.WriteString(strings.TrimRight(fmt.Sprintf("    %s = %s  %s", v.Name, v.Expression, v.Type), " ") + "\n")
		for _, m := range v.Missing {
			fmt.Fprintf(b, "    %s: %s\n", m.Path, m.Reason)
		}
	}
	for i, values := range [][]Value{l.Args, l.Results} {
		if len(l.Captured) > 0 {
			break // it is captured as the expressions say
		}
		for _, v := range values {
			for _, m := range v.Missing {
				fmt.Fprintf(b, "    %s %s: %s\n", [2]string{"arg", "ret"}[i], m.Path, m.Reason)
			}
		}
	}
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
