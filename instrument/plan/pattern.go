package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/uspan/uspan/instrument/gobin"
)

// A pattern is one -f flag, parsed.
type pattern struct {
	text string // as the user wrote it, with `!`
	body string // without `!`
	away bool   // `!`: takes away
	re   *regexp.Regexp
	// place is where the user wrote it, of a pattern in a file; else empty.
	place string
}

// parsePattern reads a -f flag: a glob, `/re/`, either with `!` in front. A
// regular expression is not anchored, as everywhere in Go's own tools.
func parsePattern(text string) (pattern, error) {
	p := pattern{text: text, body: text}
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		p.away, p.body = true, rest
	}
	if p.body == "" {
		return p, &PatternError{Pattern: text, Problem: "is empty: name a function, such as 'main.*'"}
	}
	if p.body[0] != '/' {
		return p, nil
	}
	if len(p.body) < 3 || p.body[len(p.body)-1] != '/' {
		return p, &PatternError{Pattern: text, Problem: "starts as a regular expression and does not end as one: write /…/"}
	}
	re, err := regexp.Compile(p.body[1 : len(p.body)-1])
	if err != nil {
		return p, &PatternError{Pattern: text, Problem: "is not a regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")}
	}
	p.re = re
	return p, nil
}

// Check says what is wrong with the patterns and declarations themselves; whether
// they match anything, only an executable can tell. The error is a *PatternError,
// an *ExpressionError where it is about one of them, or a *TextError.
func (r Rules) Check() error {
	for _, text := range r.Patterns {
		if _, err := parsePattern(text); err != nil {
			return err
		}
	}
	for _, text := range r.Roots {
		if _, err := parseRoot(text); err != nil {
			return err
		}
	}
	secrets, err := secretsOf(&r.Secrets)
	if err != nil {
		return err
	}
	for i := range r.Expressions {
		if err := r.Expressions[i].check(secrets); err != nil {
			return err
		}
	}
	_, err = declare(&r)
	return err
}

// unmatched are the patterns of Functions that match no function.
func (r *Rules) unmatched(f *gobin.File, functions []gobin.Function) []*PatternError {
	var none []*PatternError
	for i := range r.Functions {
		p, err := r.Functions[i].pattern()
		if err == nil && !slices.ContainsFunc(functions, func(fn gobin.Function) bool { return p.match(&fn) }) {
			p.place = r.Functions[i].Match.at(0)
			none = append(none, noMatch(&p, f, functions))
		}
	}
	return none
}

// match says whether the pattern names fn by its raw symbol or by the name that
// tracebacks print.
func (p *pattern) match(fn *gobin.Function) bool {
	if p.matchName(fn.Name) {
		return true
	}
	return fn.Symbol != fn.Name && p.matchName(fn.Symbol)
}

func (p *pattern) matchName(name string) bool {
	if p.re != nil {
		return p.re.MatchString(name)
	}
	return glob(p.body, name)
}

// glob says whether the whole of name is described by pattern: `*` is any text,
// `?` one character, and everything else stands for itself.
func glob(pattern, name string) bool {
	p, n := 0, 0
	star, retry := -1, 0 // the last `*`, and where its text ends so far
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, n
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, size := utf8.DecodeRuneInString(name[n:])
			p, n = p+1, n+size
		case p < len(pattern) && pattern[p] == name[n]:
			p, n = p+1, n+1
		case star >= 0:
			_, size := utf8.DecodeRuneInString(name[retry:])
			retry += size
			p, n = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// A PatternError says what is wrong with one -f pattern, and shows the way out.
type PatternError struct {
	// Place is where the user wrote it, of a pattern in a file; else empty.
	Place string
	// Pattern is as the user wrote it.
	Pattern string
	// Problem continues the sentence `pattern "…" …`.
	Problem string
	// Near are the names that come closest, best first.
	Near []string
	// Reasons are functions that match, and why each cannot be traced.
	Reasons []string
}

func (e *PatternError) Error() string {
	var b strings.Builder
	if e.Place != "" {
		b.WriteString(e.Place + ": ")
	}
	fmt.Fprintf(&b, "pattern %q %s", e.Pattern, e.Problem)
	if len(e.Near) > 0 {
		b.WriteString("; the nearest names are")
		for _, n := range e.Near {
			b.WriteString("\n  " + n)
		}
	}
	for _, r := range e.Reasons {
		b.WriteString("\n  " + r)
	}
	return b.String()
}
