package instrument_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// working are all functions of testdata/work but helper and what begins the
// workers.
var working = plan.Rules{Patterns: []string{"main.*", "!main.helper", "!main.pools", "!main.clients"}, Values: true}

// forest knows spans by their ids.
type forest map[span.ID]*span.Span

func newForest(spans []*span.Span) forest {
	f := make(forest)
	for _, s := range spans {
		f[s.ID] = s
	}
	return f
}

// above is the name of the function that a span comes from: of its parent, or,
// with an arrow, of the other end of its link; none for a root without one.
func (f forest) above(s *span.Span) string {
	switch {
	case s.Link != nil && s.Parent == span.ID{} && f[s.Link.ID] != nil && f[s.Link.ID].TraceID == s.Link.TraceID && s.TraceID != s.Link.TraceID:
		return "⇠ " + f[s.Link.ID].Function.Name
	case s.Link == nil && f[s.Parent] != nil && f[s.Parent].TraceID == s.TraceID:
		return f[s.Parent].Function.Name
	case s.Link == nil && s.Parent == span.ID{}:
		return "none"
	}
	return "broken"
}

// A trace is a unit of work: calls and goroutines that a loop makes which waits
// for work are roots with a link, in the function that the goroutine is for.
func TestUnitsOfWork(t *testing.T) {
	for _, options := range treeMatrix() {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, archiveOf(t, "work"), options)
			kerneltest.Require(t)
			testUnitsOfWork(t, exe)
		})
	}
	exe := testprog.Build(t, archiveOf(t, "work"), testprog.Options{Flags: []string{"-buildmode=pie"}})
	kerneltest.Require(t)
	for run := range 20 {
		t.Run(fmt.Sprint(run), func(t *testing.T) { testUnitsOfWork(t, exe) })
	}
}

func testUnitsOfWork(t *testing.T, exe string) {
	spans, summary, _ := trace(t, instrument.Config{Rules: working}, target.Command{Path: exe})
	if summary.LostSpans() != 0 || summary.Lost.LinksLost != 0 || summary.Lost.ChildrenLost != 0 {
		t.Errorf("lost: %+v", summary)
	}
	all := newForest(spans)
	got := make(map[string]int)
	for _, s := range spans {
		what := literal(s.Function.Name)
		if what == "main.job" {
			what += " of " + s.Args[0].Value.(string)
		}
		got[what+" from "+literal(all.above(s))]++
	}
	want := map[string]int{
		"main.job of main.worker from ⇠ main.worker":                    20,
		"main.job of main.selector from ⇠ main.selector":                20,
		"main.job of literal from ⇠ a literal of main.pools":            20,
		"a literal of main.dispatcher from ⇠ main.dispatcher":           20,
		"main.job of main.dispatcher from a literal of main.dispatcher": 20,
		"main.setup from main.worker":                                   4,
		"main.setup from main.serve":                                    1,
		"main.note from ⇠ main.serve":                                   10,
		"main.handle from ⇠ main.serve":                                 10,
		"main.step from main.handle":                                    10,
		"main.step from main.note":                                      10,
		"main.step from main.job":                                       160,
		"main.merge from main.batch":                                    10,
		"main.step from main.merge":                                     10,
		"main.step from main.long":                                      1000,
		"main.batch from none":                                          1,
		"main.serve from none":                                          1,
	}
	if runtime.GOARCH == "arm64" { // see begins_trace in root.h
		want["main.job of main.worker from ⇠ main.worker"] = 10
		want["main.job of main.worker from main.worker"] = 10
	}
	// Older releases do not mark the function that they make of a go statement.
	if what := "main.handle from a literal of main.serve"; got[what] > 0 {
		delete(want, "main.handle from ⇠ main.serve")
		want[what], want["a literal of main.serve from ⇠ main.serve"] = 10, 10
	}
	for what, n := range want {
		if got[what] != n {
			t.Errorf("%d times %s, want %d", got[what], what, n)
		}
	}
	if t.Failed() {
		for what, n := range got {
			t.Logf("%d times %s", n, what)
		}
	}
}

// literal names a function literal by the function that it is in: how they are
// numbered differs between releases.
func literal(name string) string {
	if before, _, found := strings.Cut(name, ".func"); found {
		arrow, in, _ := strings.Cut(before, "main.")
		return arrow + "a literal of main." + in
	}
	return name
}

// --root begins traces, and a trace is bounded.
func TestRoots(t *testing.T) {
	exe := testprog.Build(t, archiveOf(t, "work"), testprog.Options{})
	kerneltest.Require(t)
	rules := working
	rules.Roots = []string{"main.merge"}
	spans, summary, _ := trace(t, instrument.Config{Rules: rules, TraceSpans: 100}, target.Command{Path: exe})
	if summary.LostSpans() != 0 {
		t.Errorf("lost: %+v", summary)
	}
	all := newForest(spans)
	traces := make(map[span.TraceID]int)
	got := make(map[string]int)
	for _, s := range spans {
		traces[s.TraceID]++
		got[s.Function.Name+" from "+all.above(s)]++
	}
	for id, n := range traces {
		if n > 110 {
			t.Errorf("trace %x has %d spans", id, n)
		}
	}
	if got["main.merge from ⇠ main.batch"] != 10 || got["main.step from main.merge"] != 10 {
		t.Errorf("merge is no root: %v", got)
	}
	in, out := got["main.step from main.long"], got["main.step from ⇠ main.long"]
	if in+out != 1000 || in < 80 || in > 110 {
		t.Errorf("%d steps are in the trace of long, %d have one of their own", in, out)
	}
}
