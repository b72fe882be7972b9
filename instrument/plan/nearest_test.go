package plan

import "testing"

// The distance of a glob counts what has to change for it to match.
func TestGlobDistance(t *testing.T) {
	for _, test := range []struct {
		glob, name string
		want       int
	}{
		{"main.fibonaci*", "main.fibonaccirecursive", 1},
		{"main.fibonaci*", "main.main", 6},
		{"main.*nacci", "main.fibonacci", 0},
		{"*", "", 0},
		{"", "ab", 2},
		{"ab", "", 2},
		{"a*c*e", "abcde", 0},
		{"a*c*e", "abde", 1},
		{"x*", "abc", 1},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
	} {
		if got := globDistance(test.glob, test.name); got != test.want {
			t.Errorf("%s to %s: %d, not %d", test.glob, test.name, got, test.want)
		}
		if matched := glob(test.glob, test.name); matched != (test.want == 0) {
			t.Errorf("%s matches %s: %t", test.glob, test.name, matched)
		}
	}
}
