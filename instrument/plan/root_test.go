package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

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
