package instrument_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// A pattern has to match in one of several executables, and each executable has
// to have a match.
func TestPatternsOfSeveralTargets(t *testing.T) {
	counting := build(t, "counting")
	fibonacci := testprog.Build(t, "../examples/fibonacci", testprog.Options{})
	for _, test := range []struct {
		patterns []string
		problem  string // the pattern that is wrong
		want     []string
	}{
		{[]string{"main.recurse", "main.compute"}, "", []string{"main.recurse", "main.compute"}},
		{[]string{"main.*", "!main.compute", "!main.main"}, "", []string{"main.recurse", "main.fibonacciLoop"}},
		{[]string{"main.recurse", "main.compute", "main.zzz"}, "main.zzz", nil},
		{[]string{"main.recurse"}, "main.recurse", nil},
		{[]string{"main.*", "!main.zzz"}, "!main.zzz", nil},
		{[]string{"/(/", ""}, "", nil},
	} {
		var out strings.Builder
		err := instrument.Plan(&out, instrument.Config{
			Targets: []string{counting, fibonacci},
			Rules:   plan.Rules{Patterns: test.patterns},
		})
		var wrong *plan.PatternError
		switch {
		case test.want != nil && err != nil:
			t.Errorf("%q: %v", test.patterns, err)
		case test.want == nil && (!errors.As(err, &wrong) || wrong.Pattern != test.problem):
			t.Errorf("%q: %v, want an error about %q", test.patterns, err, test.problem)
		}
		for _, name := range test.want {
			if !strings.Contains(out.String(), "\n"+name+"  ") {
				t.Errorf("%q: no %s in the plan:\n%s", test.patterns, name, out.String())
			}
		}
	}
}

// A new file where the executable was gives one warning.
func TestNewFileWarning(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	var said []string
	c := config(t, &counter{}, exe)
	c.Say = func(message string) { said = append(said, message) }
	c.For = time.Second
	trace, err := instrument.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	if err := errors.Join(os.Remove(exe), os.WriteFile(exe, []byte("new"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := trace.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	warnings := 0
	for _, message := range said {
		if strings.Contains(message, exe+" is a new file: its processes are not traced") {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings: %q", warnings, said)
	}
}
