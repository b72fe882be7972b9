package plan

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of expressions.
const (
	maxExpression = 512 // bytes of one
	maxPointers   = 6   // that one leads along: see LEVELS in bpf/maps.h
)

// An Expression is a part of an argument or a result in Go syntax, such as
// `req.User.ID`, `items[0].Name`, `len(body)` or `ret0`, which a span shows under
// a name. Pointers are followed by themselves. Those over parameters are read when
// the call begins, those over results when it ends.
type Expression struct {
	// Name is a Go identifier: the attribute is `uspan.arg.NAME`, or
	// `uspan.ret.NAME` for a part of a result.
	Name string
	// Text is the expression.
	Text string
	// From is where it was written, of one in a file.
	From Text
}

// Expressions are what is captured of the traced functions that a pattern
// matches, in place of all their arguments and results.
type Expressions struct {
	Pattern string
	// From is where the pattern stands, of one in a file.
	From Text
	List []Expression
}

// ParseExpressions reads `PATTERN: NAME=EXPR, NAME=EXPR`, as the flag --capture has
// it. The error is an *ExpressionError where it is about an expression.
func ParseExpressions(text string) (Expressions, error) {
	pattern, list, ok := cutPattern(text)
	if !ok {
		return Expressions{}, fmt.Errorf("%q: 'PATTERN: NAME=EXPR, …' is needed, such as 'main.checkout: user=req.User.ID, n=len(items)'", text)
	}
	e := Expressions{Pattern: strings.TrimSpace(pattern)}
	for _, part := range splitList(list) {
		name, expr, ok := strings.Cut(part, "=")
		if !ok {
			return e, fmt.Errorf("%q for %s: NAME=EXPR is needed", strings.TrimSpace(part), e.Pattern)
		}
		e.List = append(e.List, Expression{Name: strings.TrimSpace(name), Text: strings.TrimSpace(expr)})
	}
	return e, e.check(nil)
}

// cutPattern parts a pattern from the expressions: at the last colon before the
// first `=`, as names of functions may have colons, or behind a regular expression.
func cutPattern(text string) (pattern, list string, ok bool) {
	if strings.HasPrefix(strings.TrimSpace(text), "/") {
		pattern, list, ok = strings.Cut(text, "/:")
		return pattern + "/", list, ok
	}
	equals := strings.IndexByte(text, '=')
	if equals < 0 {
		return "", "", false
	}
	colon := strings.LastIndexByte(text[:equals], ':')
	if colon < 0 {
		return "", "", false
	}
	return text[:colon], text[colon+1:], true
}

// splitList splits at commas that are in no brackets and no constants.
func splitList(text string) []string {
	var parts []string
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", 1, len(text))
	s.Init(file, []byte(text), func(token.Position, string) {}, 0) // the parser will say so
	start, depth := 0, 0
	for {
		pos, tok, _ := s.Scan()
		switch tok {
		case token.LPAREN, token.LBRACK, token.LBRACE:
			depth++
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth--
		case token.COMMA:
			if depth <= 0 {
				at := file.Offset(pos)
				parts = append(parts, text[start:at])
				start = at + 1
			}
		case token.EOF:
			return append(parts, text[start:])
		}
	}
}

// check says what is wrong with the pattern and the expressions as far as that
// can be told without an executable: without secrets, nothing of secret names.
func (e *Expressions) check(secrets *Automaton) error {
	p, err := parsePattern(e.Pattern)
	if err != nil {
		return err
	}
	if p.away {
		return fmt.Errorf("capture pattern %q: only functions to trace can be taken away", e.Pattern)
	}
	if len(e.List) == 0 {
		return fmt.Errorf("capture pattern %q: there is no expression for it", e.Pattern)
	}
	names := make(map[string]bool, len(e.List))
	for _, x := range e.List {
		switch {
		case !identifier(x.Name):
			return fmt.Errorf("capture %q of %s: a name of letters, digits and underscores is needed, such as user=%s", x.Name, e.Pattern, x.Text)
		case secrets != nil && secrets.Has(x.Name):
			return fmt.Errorf("capture %q of %s: the name looks like that of a secret, and those are not read", x.Name, e.Pattern)
		case names[x.Name]:
			return fmt.Errorf("capture %q of %s: there are two of that name", x.Name, e.Pattern)
		}
		names[x.Name] = true
		if _, err := parseExpression(x); err != nil {
			return err
		}
	}
	return nil
}

// identifier says whether a name is one of Go's, or a keyword.
func identifier(name string) bool {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return name != "" && name != "_"
}

// An ExpressionError says what is wrong with an expression, and where.
type ExpressionError struct {
	Expression
	// Function is what the expression was checked against; empty where the
	// expression is wrong for any.
	Function string
	// Column is that of the first wrong byte of Text, from 0 on.
	Column int
	// Problem continues the sentence `capture NAME: …`.
	Problem string
	// Near are the names that come closest, best first.
	Near []string

	secret bool // it leads to a secret
}

func (e *ExpressionError) Error() string {
	var b strings.Builder
	if e.Function != "" && e.From.File != "" {
		b.WriteString(e.From.at(e.Column) + ": ")
	}
	fmt.Fprintf(&b, "capture %s", e.Name)
	if e.Function != "" {
		fmt.Fprintf(&b, " of %s", e.Function)
	}
	fmt.Fprintf(&b, ": %s", e.Problem)
	if e.Text != "" {
		column := min(max(e.Column, 0), len(e.Text))
		fmt.Fprintf(&b, "\n  %s\n  %s^", e.Text, strings.Repeat(" ", len([]rune(e.Text[:column]))))
	}
	if len(e.Near) > 0 {
		b.WriteString("\nthe nearest names are")
		for _, n := range e.Near {
			b.WriteString("\n  " + n)
		}
	}
	return b.String()
}

// An access is an expression, parsed: a parameter or a result, and the way to a
// part of it.
type access struct {
	root   string
	column int // of the root
	hops   []hop
	// measure is `len` or `cap` where that is asked for, at a column.
	measure       string
	measureColumn int
}

// A hop is one step on the way.
type hop struct {
	kind   hopKind
	column int    // of what may be wrong with it
	name   string // of a field, or a type
	index  int64
	key    any // a constant that is a string or a bool
}

type hopKind uint8

const (
	hopField hopKind = iota
	hopIndex
	hopKey
	hopFollow
	hopAssert // to the type that an interface holds
)

// parseExpression reads the syntax of an expression. The error is an *ExpressionError.
func parseExpression(x Expression) (access, error) {
	fail := func(column int, format string, args ...any) (access, error) {
		return access{}, &ExpressionError{Expression: x, Column: column, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case x.Text == "":
		return fail(0, "the expression is empty")
	case len(x.Text) > maxExpression:
		return fail(maxExpression, "an expression of more than %d bytes", maxExpression)
	}
	files := token.NewFileSet()
	tree, err := parser.ParseExprFrom(files, "", []byte(x.Text), 0)
	if err != nil {
		if list, ok := err.(scanner.ErrorList); ok && len(list) > 0 { //nolint:errorlint // never wrapped
			return fail(list[0].Pos.Offset, "not Go: %s", list[0].Msg)
		}
		return fail(0, "not Go: %v", err)
	}
	column := func(p token.Pos) int { return files.Position(p).Offset }
	var a access
	if call, ok := unparen(tree).(*ast.CallExpr); ok {
		name, ok := unparen(call.Fun).(*ast.Ident)
		if !ok || name.Name != "len" && name.Name != "cap" {
			return fail(column(call.Lparen), "a call: of calls there are len and cap alone, as uspan executes nothing of the program")
		}
		if len(call.Args) != 1 || call.Ellipsis.IsValid() {
			return fail(column(call.Lparen), "%s takes one argument", name.Name)
		}
		a.measure, a.measureColumn = name.Name, column(name.Pos())
		tree = call.Args[0]
	}
	for {
		switch e := tree.(type) {
		case *ast.ParenExpr:
			tree = e.X
			continue
		case *ast.Ident:
			a.root, a.column = e.Name, column(e.Pos())
			reverse(a.hops)
			return a, nil
		case *ast.SelectorExpr:
			a.hops = append(a.hops, hop{kind: hopField, column: column(e.Sel.Pos()), name: e.Sel.Name})
			tree = e.X
			continue
		case *ast.StarExpr:
			a.hops = append(a.hops, hop{kind: hopFollow, column: column(e.Star)})
			tree = e.X
			continue
		case *ast.IndexExpr:
			h, problem := constant(e.Index)
			h.column = column(e.Index.Pos())
			if problem != "" {
				return fail(h.column, "%s", problem)
			}
			a.hops = append(a.hops, h)
			tree = e.X
			continue
		case *ast.TypeAssertExpr:
			if e.Type == nil {
				return fail(column(e.Lparen), "a type is needed, such as x.(*main.T).Name")
			}
			a.hops = append(a.hops, hop{kind: hopAssert, column: column(e.Type.Pos()), name: types.ExprString(e.Type)})
			tree = e.X
			continue
		case *ast.CallExpr:
			return fail(column(e.Lparen), "a call: of calls there are len and cap alone, around all the rest")
		}
		at := tree.Pos()
		if operation, ok := tree.(*ast.BinaryExpr); ok {
			at = operation.OpPos
		}
		return fail(column(at), "%s: an expression is a parameter or a result with selectors, indexes, type assertions, len or cap", describeSyntax(tree))
	}
}

func unparen(e ast.Expr) ast.Expr {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

func reverse(hops []hop) {
	for i, j := 0, len(hops)-1; i < j; i, j = i+1, j-1 {
		hops[i], hops[j] = hops[j], hops[i]
	}
}

// constant is an index.
func constant(e ast.Expr) (h hop, problem string) {
	e = unparen(e)
	if name, ok := e.(*ast.Ident); ok && (name.Name == "true" || name.Name == "false") {
		return hop{kind: hopKey, key: name.Name == "true"}, ""
	}
	sign := ""
	if minus, ok := e.(*ast.UnaryExpr); ok && minus.Op == token.SUB {
		sign, e = "-", unparen(minus.X)
	}
	literal, ok := e.(*ast.BasicLit)
	switch {
	case !ok:
		return h, "an index has to be a constant"
	case literal.Kind == token.INT:
		n, err := strconv.ParseInt(sign+literal.Value, 0, 64)
		if err != nil {
			return h, "an index that large is none"
		}
		return hop{kind: hopIndex, index: n}, ""
	case literal.Kind == token.CHAR && sign == "":
		r, _, _, err := strconv.UnquoteChar(strings.Trim(literal.Value, "'"), '\'')
		if err != nil {
			return h, "not a character"
		}
		return hop{kind: hopIndex, index: int64(r)}, ""
	case literal.Kind == token.STRING && sign == "":
		key, err := strconv.Unquote(literal.Value)
		if err != nil {
			return h, "not a string"
		}
		return hop{kind: hopKey, key: key}, ""
	}
	return h, "an index has to be a whole number, or where it is the key of a map a string, true or false"
}

// describeSyntax is what an expression is called that cannot be captured.
func describeSyntax(e ast.Expr) string {
	switch e.(type) {
	case *ast.BasicLit:
		return "a constant"
	case *ast.BinaryExpr:
		return "an operation"
	case *ast.UnaryExpr:
		return "an operator"
	case *ast.SliceExpr:
		return "a part of a slice"
	case *ast.FuncLit, *ast.CompositeLit:
		return "a literal"
	}
	return "not a value"
}
