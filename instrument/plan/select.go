package plan

import (
	"debug/buildinfo"
	"fmt"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// A selection is what the patterns choose out of an executable's functions,
// before anything is known of their code.
type selection struct {
	// chosen are indexes of functions, ascending.
	chosen []int
	// patterns are those that choose (not those that take away), each with the
	// chosen functions that it matches.
	patterns []chooser
	// omitted counts what was left out, by reason.
	omitted map[string]int
	// byDefault says that nobody named the functions.
	byDefault bool
	// away says that there are patterns that take away.
	away bool
}

type chooser struct {
	pattern
	functions []int
	omitted   []int // what it matches and the compiler made
}

// choose applies the patterns. What a pattern takes away is taken away wherever
// it stands in the list.
//
// A glob means functions of the source: one that the compiler made is chosen
// only by a pattern that spells its mark (`main.*-range*`, `*.gowrap*`), since a
// span for it would double the call that it makes, or be no call at all. Method
// and ABI wrappers are chosen here, and left out later where they lead to a
// function that is traced itself.
func choose(f *gobin.File, functions []gobin.Function, rules *Rules) (*selection, error) {
	s := &selection{omitted: make(map[string]int), byDefault: true}
	var away []pattern
	for _, text := range rules.Patterns {
		p, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		p.place = placeOf(rules.Written.Patterns, text)
		if p.away {
			s.away, away = true, append(away, p)
			continue
		}
		s.byDefault = false
		s.patterns = append(s.patterns, chooser{pattern: p})
	}
	own := newModule(f.Info)
	matched := make([]bool, len(rules.Patterns)) // first the choosers, then away
	for i := range functions {
		fn := &functions[i]
		taken := false
		for j := range away {
			if away[j].match(fn) {
				taken, matched[len(s.patterns)+j] = true, true
			}
		}
		if s.byDefault {
			if taken || !own.has(fn.Package) {
				continue
			}
			if why := leftOut(fn); why != "" {
				s.omitted[why]++
				continue
			}
			s.chosen = append(s.chosen, i)
			continue
		}
		mark, chosen, spelled := made(fn), false, false
		for j := range s.patterns {
			c := &s.patterns[j]
			if !c.match(fn) {
				continue
			}
			matched[j] = true
			if taken {
				continue
			}
			chosen = true
			if mark.text == "" || strings.Contains(c.body, mark.text) {
				spelled = true
				c.functions = append(c.functions, i)
			} else {
				c.omitted = append(c.omitted, i)
			}
		}
		switch {
		case spelled:
			s.chosen = append(s.chosen, i)
		case chosen:
			s.omitted[mark.what]++
		}
	}
	j := slices.Index(matched, false)
	switch {
	case j < 0:
		return s, nil
	case j < len(s.patterns):
		return nil, noMatch(&s.patterns[j].pattern, f, functions)
	}
	return nil, noMatch(&away[j-len(s.patterns)], f, functions)
}

func noMatch(p *pattern, f *gobin.File, functions []gobin.Function) *PatternError {
	if e := onlyInlined(p, f); e != nil {
		return e
	}
	e := &PatternError{Place: p.place, Pattern: p.text, Problem: "matches no function (those that are inlined everywhere or never called are not in the executable)"}
	if p.re == nil {
		e.Near = nearest(p.body, functions)
	}
	return e
}

// leftOut is why the default selection leaves a function of the main module
// out, or empty.
func leftOut(fn *gobin.Function) string {
	switch {
	case fn.Name == "main.main":
		return "main.main"
	case initializer(fn):
		return "initialisers of packages"
	}
	return made(fn).what
}

// A module tells the main module's packages from those of others.
type module struct {
	path   string   // empty where the executable has none
	nested []string // paths of other modules below it
}

func newModule(info *buildinfo.BuildInfo) module {
	if info == nil || info.Main.Path == "" || info.Main.Path == "command-line-arguments" {
		return module{}
	}
	m := module{path: info.Main.Path}
	for _, dep := range info.Deps {
		if within(dep.Path, m.path) {
			m.nested = append(m.nested, dep.Path)
		}
	}
	return m
}

// has says whether a package is the main module's own. The package `main` is
// always, and the external tests of a package (`shop/cart_test`) are.
func (m module) has(pkg string) bool {
	if pkg == "main" {
		return true
	}
	if m.path == "" || !within(strings.TrimSuffix(pkg, "_test"), m.path) {
		return false
	}
	for _, n := range m.nested {
		if within(pkg, n) {
			return false
		}
	}
	return true
}

// within says whether an import path is that of a module or below it.
func within(pkg, module string) bool {
	rest, ok := strings.CutPrefix(pkg, module)
	return ok && (rest == "" || rest[0] == '/')
}

// untraceable says, for a pattern none of whose functions is traced, why.
func (c *chooser) untraceable(functions []gobin.Function, why func(int) string) error {
	e := &PatternError{Place: c.place, Pattern: c.text, Problem: "matches only functions that cannot be traced:"}
	const show = 10
	n := 0
	seen := make(map[string]bool) // a wrapper has the name of what it wraps
	add := func(i int, reason string) {
		name := functions[i].Name
		if seen[name] {
			return
		}
		seen[name] = true
		if n++; n <= show {
			e.Reasons = append(e.Reasons, name+": "+reason)
		}
	}
	for _, i := range c.functions {
		add(i, why(i))
	}
	for _, i := range c.omitted {
		m := made(&functions[i])
		add(i, fmt.Sprintf("made by the compiler (%s); a pattern that spells %q takes it", m.what, m.text))
	}
	if n > show {
		e.Reasons = append(e.Reasons, fmt.Sprintf("and %d more", n-show))
	}
	return e
}
