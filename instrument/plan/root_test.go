package plan

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

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

// The same loops wait for work on every architecture.
func TestWorkOnEachArchitecture(t *testing.T) {
	main, err := os.ReadFile("../testdata/work/main.go")
	if err != nil {
		t.Fatal(err)
	}
	source := "-- go.mod --\nmodule example.com/work\n\ngo 1.18\n-- main.go --\n" + string(main)
	whys := func(architecture, version string) map[string]string {
		f, err := gobin.Open(testprog.Build(t, source, testprog.Options{GOARCH: architecture, GoVersion: version}))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p, err := Build(f, Rules{Patterns: []string{"main.*"}})
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]string)
		for i := range p.Functions {
			if fn := &p.Functions[i]; fn.Work != nil {
				why, _, _ := strings.Cut(fn.Work.Why, " at ")
				found[fn.Name] = why
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
