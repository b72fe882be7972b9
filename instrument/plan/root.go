package plan

import (
	"errors"

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
	e := &PatternError{Pattern: p.text, Problem: of + " matches no function that is traced"}
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
	} else if p.re == nil {
		traced := make([]gobin.Function, 0, len(b.plan.Functions))
		for i := range b.plan.Functions {
			traced = append(traced, b.plan.Functions[i].Function)
		}
		e.Near = nearest(p.body, traced)
	}
	return e
}
