package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

const becauseInlined = "inlined everywhere: no call of it is left"

// withInlined are the functions, and behind them those that are in the executable
// only where they were inlined.
func withInlined(functions []gobin.Function, inlinings map[string]int) []gobin.Function {
	whole := make(map[string]bool, len(functions))
	for i := range functions {
		whole[functions[i].Symbol] = true
	}
	all := slices.Clip(slices.Clone(functions))
	for _, symbol := range slices.Sorted(maps.Keys(inlinings)) {
		if !whole[symbol] && symbol != "" {
			all = append(all, gobin.InlinedFunction(symbol))
		}
	}
	return all
}

// onlyInlined is what is said of a pattern that matches no function which has code of
// its own, but some that were inlined; nil where it matches none of these.
func onlyInlined(p *pattern, f *gobin.File) *PatternError {
	copies := f.Copies(func(symbol string) bool {
		fn := gobin.InlinedFunction(symbol)
		return p.match(&fn)
	})
	if len(copies) == 0 {
		return nil
	}
	e := &PatternError{Place: p.place, Pattern: p.text, Problem: "matches only functions that are inlined everywhere, so that no call of them is left:"}
	if !p.away {
		e.Problem += " trace what they are inlined into, or keep them with //go:noinline"
	}
	const show = 10
	for n, symbol := range slices.Sorted(maps.Keys(copies)) {
		if n == show {
			e.Reasons = append(e.Reasons, fmt.Sprintf("and %d more", len(copies)-show))
			break
		}
		c := copies[symbol]
		e.Reasons = append(e.Reasons, fmt.Sprintf("%s: at %s, in %s", gobin.InlinedFunction(symbol).Name, count(c.Calls, "call site"), some(c.In)))
	}
	return e
}

// some are the names of functions, of which there may be many.
func some(functions []*gobin.Function) string {
	const most = 4
	var names []string
	for _, fn := range functions[:min(len(functions), most)] {
		names = append(names, fn.Name)
	}
	text := strings.Join(names, ", ")
	if more := len(functions) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// An Inlining says how often a function was compiled into its callers, out of the
// calls that are known: those and the direct ones. It comes from the tables that the
// runtime itself makes tracebacks with: they are in every executable, stripped or
// not, and say the same as DWARF where that is.
type Inlining struct{ Inlined, Sites int }

// String says it: `inlined at 12 of 15 call sites; those calls make no span`.
func (i Inlining) String() string {
	switch i.Inlined {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("inlined at 1 of %d call sites; that call makes no span", i.Sites)
	}
	return fmt.Sprintf("inlined at %d of %d call sites; those calls make no span", i.Inlined, i.Sites)
}

// inlined fills in Inlining.
func (b *builder) inlined(inlinings map[string]int) {
	calls := make(map[uint64]int)
	for i := range b.plan.Functions {
		if f := &b.plan.Functions[i]; inlinings[f.Symbol] > 0 && !f.Wrapper {
			calls[f.Entry] = 0
		}
	}
	b.file.CountCalls(calls)
	for i := range b.plan.Functions {
		if f := &b.plan.Functions[i]; inlinings[f.Symbol] > 0 && !f.Wrapper {
			n := inlinings[f.Symbol]
			f.Inlining = Inlining{n, n + calls[f.Entry]}
		}
	}
	for i := range b.plan.Skipped {
		if s := &b.plan.Skipped[i]; s.Reason == becauseInlined {
			n := inlinings[s.Symbol]
			s.Inlining = Inlining{n, n}
		}
	}
}
