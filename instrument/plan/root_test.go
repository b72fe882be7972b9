package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

// Patterns of roots choose among the functions that are traced.
func TestRootPatterns(t *testing.T) {
	f := openShop(t, testprog.Options{})
	p, err := Build(f, Rules{Patterns: []string{"example.com/shop/cart.*"}, Roots: []string{"*.Add"}})
	if err != nil {
		t.Fatal(err)
	}
	var roots []string
	for i := range p.Functions {
		if p.Functions[i].Root {
			roots = append(roots, p.Functions[i].Name)
		}
	}
	if !slices.Equal(roots, []string{"example.com/shop/cart.(*Cart).Add"}) {
		t.Errorf("roots: %q", roots)
	}
	for pattern, want := range map[string]string{
		"main.main":         "main.main: choose it with -f, too",
		"example.com/sop.*": "of roots matches no function that is traced",
		"errors.New":        "of roots matches only functions that are inlined everywhere",
		"!*.Add":            "only functions to trace can be taken away",
	} {
		_, err := Build(f, Rules{Patterns: []string{"example.com/shop/cart.*"}, Roots: []string{pattern}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", pattern, err)
		}
		if _, ok := errors.AsType[*PatternError](err); !ok && pattern[0] != '!' {
			t.Errorf("%s: %T", pattern, err)
		}
	}
}

// openWork builds and opens testdata/work of the package above.
func openWork(t *testing.T, options testprog.Options) *gobin.File {
	t.Helper()
	main, err := os.ReadFile("../testdata/work/main.go")
	if err != nil {
		t.Fatal(err)
	}
	source := "-- go.mod --\nmodule example.com/work\n\ngo 1.18\n-- main.go --\n" + string(main)
	f, err := gobin.Open(testprog.Build(t, source, options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What is listed says which calls are made roots, and why: those that are when the
// program is traced.
func TestListedRoots(t *testing.T) {
	f := openWork(t, testprog.Options{GoVersion: goldenVersion, GOARCH: "amd64", Flags: []string{"-trimpath"}})
	rules := Rules{Patterns: []string{"main.*"}, Roots: []string{"main.merge"}}
	traced, err := Build(f, rules)
	if err != nil {
		t.Fatal(err)
	}
	rules.Look = true
	listed, err := Build(f, rules)
	if err != nil {
		t.Fatal(err)
	}
	work := func(p *Plan) map[string]*Work {
		found := make(map[string]*Work)
		for i := range p.Functions {
			found[p.Functions[i].Name] = p.Functions[i].Work
		}
		return found
	}
	if diff := cmp.Diff(work(traced), work(listed)); diff != "" {
		t.Errorf("loops that wait for work (-traced +listed):\n%s", diff)
	}
	var text, objects bytes.Buffer
	encoder := json.NewEncoder(&objects)
	for l := range listed.List {
		if !l.Root && !l.AllRoots && len(l.Roots) == 0 {
			continue
		}
		l.Args, l.Results = nil, nil
		fmt.Fprintln(&text, l.Name)
		for _, note := range l.Notes() {
			fmt.Fprintln(&text, "   ", note)
		}
		if err := encoder.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "roots.txt", text.String()+"\n"+objects.String())
}

// The same loops wait for work on every architecture.
func TestWorkOnEachArchitecture(t *testing.T) {
	whys := func(architecture, version string) map[string]string {
		p, err := Build(openWork(t, testprog.Options{GOARCH: architecture, GoVersion: version}), Rules{Patterns: []string{"main.*"}})
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]string)
		for i := range p.Functions {
			if fn := &p.Functions[i]; fn.Work != nil {
				found[fn.Name] = fn.Work.Calls[0].WaitsFor
			}
		}
		return found
	}
	for _, version := range testprog.Versions() {
		t.Run(version, func(t *testing.T) {
			amd64, arm64 := whys("amd64", version), whys("arm64", version)
			if !maps.Equal(amd64, arm64) || amd64["main.serve"] == "" || amd64["main.worker"] == "" {
				t.Errorf("amd64 has %q, arm64 %q", amd64, arm64)
			}
		})
	}
}
