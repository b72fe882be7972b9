package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// What the rules say that is captured of functions, in place of all arguments and
// results: each expression is resolved in every function that it is for.

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
		p.place = e.From.Place()
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
	lists := [2][]gobin.Param{sig.Params, sig.Results}
	var names [2][]string
	for n, params := range lists {
		for i := range params {
			if params[i].Name == x.root && x.root != "" {
				return i, n == 1, nil
			}
			if params[i].Name != "" {
				names[n] = append(names[n], params[i].Name)
			} else {
				names[n] = append(names[n], [2]string{"arg", "ret"}[n]+strconv.Itoa(i))
			}
		}
	}
	e := &ExpressionError{Expression: x.Expression, Column: x.column}
	for n, what := range []string{"parameter", "result"} {
		digits, ok := strings.CutPrefix(x.root, [2]string{"arg", "ret"}[n])
		i, err := strconv.ParseUint(digits, 10, 16)
		if !ok || err != nil {
			continue
		}
		if int(i) < len(lists[n]) {
			return int(i), n == 1, nil
		}
		e.Problem = fmt.Sprintf("there is no %s %s: the function has %s", what, x.root, count(len(lists[n]), what))
		e.Near = names[n][:min(len(names[n]), maxNear)]
		return 0, false, e
	}
	e.Problem = "there is no parameter and no result " + x.root
	e.Near = nearestNames(x.root, slices.Concat(names[0], names[1]))
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
