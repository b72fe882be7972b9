package plan

import (
	"fmt"
	"maps"
	"slices"

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

// An Inlining says how often a function was compiled into its callers, out of the
// calls that are known: those and the direct ones.
type Inlining struct{ Inlined, Sites int }

// String says it: `inlined at 12 of 15 call sites; those calls make no span`.
func (i Inlining) String() string {
	switch {
	case i.Inlined == 0:
		return ""
	case i.Sites == i.Inlined && i.Inlined == 1:
		return "inlined at 1 call site; that call makes no span"
	case i.Sites == i.Inlined:
		return fmt.Sprintf("inlined at %d call sites; those calls make no span", i.Inlined)
	case i.Inlined == 1:
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
