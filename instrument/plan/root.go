package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// parseRoot parses a pattern of Rules.Roots.
func parseRoot(text string) (pattern, error) {
	p, err := parsePattern(text)
	if err == nil && p.away {
		err = errors.New("root pattern \"" + text + "\": only functions to trace can be taken away")
	}
	return p, err
}

// roots marks the functions whose calls begin traces. A pattern that leads to
// none that is traced is an error.
func (b *builder) roots() error {
	for _, text := range b.rules.Roots {
		p, err := parseRoot(text)
		if err != nil {
			return err
		}
		p.place = placeOf(b.rules.Written.Roots, text)
		found := false
		for i := range b.plan.Functions {
			if f := &b.plan.Functions[i]; p.match(&f.Function) {
				f.Root, found = true, true
			}
		}
		if !found {
			return b.unmatched(&p, "of roots")
		}
	}
	return nil
}

// unmatched says why a pattern of something leads to nothing.
func (b *builder) unmatched(p *pattern, of string) error {
	e := &PatternError{Place: p.place, Pattern: p.text, Problem: of + " matches no function that is traced"}
	for i := range b.functions {
		if fn := &b.functions[i]; p.match(fn) {
			why := "choose it with -f, too"
			if placed := b.placements[i]; placed != nil && placed.reason != "" {
				why = placed.reason
			}
			e.Reasons = append(e.Reasons, fn.Name+": "+why)
		}
		if len(e.Reasons) == 10 {
			break
		}
	}
	if len(e.Reasons) > 0 {
		e.Problem += ":"
	} else if inlined := onlyInlined(p, b.file); inlined != nil {
		inlined.Problem = of + " " + inlined.Problem
		return inlined
	} else if p.re == nil {
		traced := make([]gobin.Function, 0, len(b.plan.Functions))
		for i := range b.plan.Functions {
			traced = append(traced, b.plan.Functions[i].Function)
		}
		e.Near = nearest(p.body, traced)
	}
	return e
}

// A Root is a call in the code of a function that begins a trace.
type Root struct {
	// Calls is what is called; empty where only the running program knows, and of a
	// go statement.
	Calls string `json:"calls,omitempty"`
	// Go says that it is a go statement: what the goroutine calls begins traces.
	Go bool `json:"go,omitempty"`
	// Line is that of the call, in the file of the function; 0 where it is not known.
	Line int `json:"line,omitempty"`
	// Return is where the call returns to, in bytes from the function's entry on.
	Return uint64 `json:"return"`
	// Why is what makes it one, and of which calls of the function it is true.
	Why string `json:"why"`
}

// workRoots are the calls of the function that wait for work.
func (f *Function) workRoots(file *gobin.File) []Root {
	if f.Work == nil {
		return nil
	}
	where := "where it is what a goroutine is for"
	switch {
	case f.Work.Serves:
		where = "whoever calls it"
	case f.Work.Accepts:
		where = "where it has no parent, or is called on the first goroutine"
	}
	roots := make([]Root, len(f.Work.Calls))
	for i := range f.Work.Calls {
		call := &f.Work.Calls[i]
		roots[i] = Root{
			Go: call.Go, Line: ownLine(file, call.Addr), Return: call.Return - f.Entry,
			Why: fmt.Sprintf("the loop %s%s (%s)", call.WaitsFor, inLine(ownLine(file, call.WaitsAt)), where),
		}
		if frames := file.Frames(call.Target); !call.Go && len(frames) > 0 {
			roots[i].Calls = frames[len(frames)-1].Function
		}
	}
	return roots
}

// ownLine is the line of a function's own code that an address belongs to, whatever
// was inlined there; 0 where it is not known.
func ownLine(file *gobin.File, addr uint64) int {
	frames := file.Frames(addr)
	if len(frames) == 0 {
		return 0
	}
	return frames[len(frames)-1].Line
}

func inLine(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" in line %d", line)
}

// what is the call: `main.job in line 42`.
func (r *Root) what() string {
	what := r.Calls
	switch {
	case r.Go:
		what = "the go statement"
	case what == "":
		what = "a call of a value or an interface"
	}
	return what + inLine(r.Line)
}

// rootNotes say which calls begin traces, and why: one for all that have the same
// reason.
func rootNotes(roots []Root) (notes []string) {
	for len(roots) > 0 {
		same := roots[:1]
		for len(same) < len(roots) && roots[len(same)].Why == same[0].Why {
			same = roots[:len(same)+1]
		}
		roots = roots[len(same):]
		var calls []string
		for i := range same {
			if what := same[i].what(); !slices.Contains(calls, what) {
				calls = append(calls, what)
			}
		}
		notes = append(notes, fmt.Sprintf("begin traces: %s; %s", strings.Join(calls, ", "), same[0].Why))
	}
	return notes
}
