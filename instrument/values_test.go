package instrument_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

var update = flag.Bool("update", false, "write the golden files anew")

// valuesProgram has a function for each shape of values.
const valuesProgram = "testdata/values"

// valuesSource is where the functions of valuesProgram are.
func valuesSource(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(valuesProgram + "/main.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// TestValues compares what is captured with what testdata/values passes, a
// function for each shape, in releases of Go and in ways to build that change
// where values lie. The golden file is the same for all.
func TestValues(t *testing.T) {
	const golden = "testdata/values.golden"
	want, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, version := range append(testprog.Versions(), "go1.24.9") {
		for _, options := range []testprog.Options{
			{GoVersion: version},
			{GoVersion: version, Flags: []string{"-buildmode=pie"}},
			{GoVersion: version, Flags: []string{"-gcflags=all=-N -l"}},
			{GoVersion: version, DebugFile: true},
		} {
			t.Run(options.String(), func(t *testing.T) {
				exe := testprog.Build(t, valuesProgram, options)
				kerneltest.Require(t)
				spans, summary, _ := trace(t,
					instrument.Config{Rules: plan.Rules{Patterns: []string{"main.*", "!main.use", "!main.main*"}, Values: true}},
					target.Command{Path: exe})
				if summary.LostSpans() != 0 || summary.Lost.ValuesFull != 0 {
					t.Errorf("lost: %+v", summary)
				}
				// main.unreadable has five values in memory that cannot be read.
				if summary.Lost.Unreadable < 5 {
					t.Errorf("%d reads failed, five at least should have", summary.Lost.Unreadable)
				}
				checkBigMap(t, spans)
				got := described(spans)
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					*update, want = false, []byte(got)
				}
				want := string(want)
				if version < "go1.22" {
					want = withoutUnnamed(want)
				}
				if version < "go1.20" {
					want = withoutFunctions(want, beforeJoined)
				}
				if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// addresses differ from run to run.
var addresses = regexp.MustCompile(`0xc?[0-9a-f]{9,12}\b`)

// described are the captured values of spans as text.
func described(spans []*span.Span) string {
	sort.SliceStable(spans, func(i, j int) bool { return spans[i].Start.Before(spans[j].Start) })
	var b strings.Builder
	for _, s := range spans {
		if s.Function.Name == "main.bigMap" {
			continue // see checkBigMap
		}
		fmt.Fprintln(&b, s.Function.Name)
		for _, a := range s.Attributes() {
			if strings.HasPrefix(a.Key, "uspan.") && a.Key != "uspan.goroutine.id" && a.Key != "uspan.thread.id" || a.Key == "error.type" {
				fmt.Fprintf(&b, "  %s = %s\n", a.Key, addresses.ReplaceAllString(fmt.Sprintf("%#v", a.Value), "0xADDRESS"))
			}
		}
		if s.Error != nil {
			fmt.Fprintf(&b, "  error %s\n", strings.ReplaceAll(s.Error.String(), "\n", `\n`))
		}
	}
	return b.String()
}

// checkBigMap looks at a map of which some entries are shown, whichever: each
// number has its square.
func checkBigMap(t *testing.T, spans []*span.Span) {
	t.Helper()
	for _, s := range spans {
		if s.Function.Name != "main.bigMap" {
			continue
		}
		entries, _ := s.Args[0].Value.(span.Map)
		for _, e := range entries {
			var n int64
			if _, err := fmt.Sscanf(e.Name, "[%d]", &n); err != nil || e.Value != n*n {
				t.Errorf("m%s = %v: %v", e.Name, e.Value, err)
			}
		}
		if want := fmt.Sprintf("%d of 1000", len(entries)); len(entries) == 0 || s.Args[0].Note != want {
			t.Errorf("%d entries: %q", len(entries), s.Args[0].Note)
		}
	}
}

// withoutUnnamed are values as before Go 1.22: DWARF does not tell of unnamed
// parameters, so that the functions have none.
func withoutUnnamed(golden string) string {
	var b strings.Builder
	unnamed := false
	for line := range strings.Lines(golden) {
		if !strings.HasPrefix(line, " ") {
			unnamed = line == "main.unnamed\n" || line == "main.blank\n"
		}
		if !unnamed || !strings.HasPrefix(line, " ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// beforeJoined are the functions that are called from Go 1.20 on.
var beforeJoined = []string{"joins"}
