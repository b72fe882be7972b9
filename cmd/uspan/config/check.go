package config

import (
	"cmp"
	"errors"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
)

// maxAttributes bounds limits.attributes.
const maxAttributes = 1 << 16

// check looks at what the types of values do not tell.
func (f *File) check() error {
	for _, bound := range []struct {
		key         string
		number      *Number
		least, most int
	}{
		{"max-trace-spans", f.MaxTraceSpans, 0, 1<<31 - 1},
		{"capture-depth", f.CaptureDepth, 1, plan.MaxDepth},
		{"string-bytes", f.Limits.StringBytes, 1, plan.MaxStringBytes},
		{"items", f.Limits.Items, 1, plan.MaxItems},
		{"event-bytes", f.Limits.EventBytes, instrument.MinEventBytes, instrument.MaxEventBytes},
		{"attributes", f.Limits.Attributes, 0, maxAttributes},
		{"attribute-length", f.Limits.AttributeLength, 0, 1<<31 - 1},
		{"max-open-calls", f.MaxOpenCalls, instrument.MinOpenCalls, instrument.MostOpenCalls},
	} {
		if n := bound.number; n != nil && (n.Value < bound.least || n.Value > bound.most) {
			return n.errorf("%s %d: a number from %d to %d is needed", bound.key, n.Value, bound.least, bound.most)
		}
	}
	if d := f.For; d != nil && d.Value < 0 {
		return d.errorf("for %v: a duration cannot be negative", d.Value)
	}
	if d := f.FlushTimeout; d != nil && d.Value < time.Nanosecond {
		return d.errorf("flush-timeout %v: a duration above zero is needed", d.Value)
	}
	if c := f.Capture; c != nil && c.Value != "auto" && c.Value != "none" {
		return c.errorf("capture %q: auto or none is needed", c.Value)
	}
	if f.Verbose != nil && f.Quiet != nil && f.Verbose.Value && f.Quiet.Value {
		return f.Quiet.errorf("verbose and quiet contradict each other")
	}
	for _, a := range f.Resource {
		if a.Key == "" {
			return a.errorf("an attribute needs a name")
		}
	}
	for _, function := range f.Functions {
		if s := function.Signature; s != nil && s.Value == "" {
			return s.errorf("the signature is empty")
		}
		if function.Match == nil {
			return function.errorf("match is missing: which functions is it about?")
		}
		for _, c := range function.Capture {
			one := Function{Match: function.Match, Capture: []Attribute{c}}
			err := plan.Rules{Expressions: []plan.Expressions{one.expressions()}}.Check()
			if problem, ok := errors.AsType[*plan.ExpressionError](err); ok {
				return Place{c.Value.File, c.Value.Line, c.Value.Column + problem.Column}.errorf("%v", problem)
			}
			if err != nil {
				return c.errorf("%v", err)
			}
		}
	}
	var rules plan.Rules
	rules.Secrets.Add, rules.Secrets.Remove = Written(f.Secrets.Add), Written(f.Secrets.Remove)
	if problem, ok := errors.AsType[*plan.TextError](rules.Check()); ok {
		return Place{problem.File, problem.Line, problem.Column}.errorf("%s", problem.Problem)
	}
	return f.checkPatterns()
}

// checkPatterns looks at the patterns themselves; whether they match anything,
// only an executable can tell.
func (f *File) checkPatterns() error {
	check := func(t *Text, rules plan.Rules) error {
		if err := rules.Check(); err != nil {
			return t.errorf("%v", err)
		}
		return nil
	}
	var err error
	for i := range f.Func {
		err = cmp.Or(err, check(&f.Func[i], plan.Rules{Patterns: []string{f.Func[i].Value}}))
	}
	for i := range f.Root {
		err = cmp.Or(err, check(&f.Root[i], plan.Rules{Roots: []string{f.Root[i].Value}}))
	}
	return err
}
