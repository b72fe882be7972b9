package instrument_test

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// countingArchive is testdata/counting as a module that every release takes.
func countingArchive(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("testdata/counting/main.go")
	if err != nil {
		t.Fatal(err)
	}
	return "-- go.mod --\nmodule example.com/counting\n\ngo 1.18\n-- main.go --\n" + string(source) + testprog.C
}

// The counting program gives the same exact spans by whatever release of Go and
// in whatever way it is built; without DWARF, its functions are declared.
func TestVersions(t *testing.T) {
	archive := countingArchive(t)
	if runtime.GOARCH == "arm64" {
		// Since Go 1.24 a program built with -asan looks for leaks when it ends: for
		// seven minutes where the machine is emulated.
		t.Setenv("ASAN_OPTIONS", "detect_leaks=0")
	}
	for _, options := range slices.Concat(testprog.Matrix(), testprog.Minors(), testprog.Experiments()) {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, archive, options)
			kerneltest.Require(t)
			t.Attr("built", options.String()) // for the page that internal/support writes
			t.Attr("spans", "exact")
			rules := plan.Rules{Patterns: counted, Values: true}
			if !options.DWARF() {
				declare(&rules, map[string]string{
					"main.recurse": "func(id, parent int64, n int) int64",
					"main.climb":   "func(id, parent int64) int64",
					"main.block":   "func(id, parent int64, entered *sync.WaitGroup, gate <-chan struct{}) int64",
					"main.short":   "func(id, parent int64) int64",
					"main.brief":   "func(id, parent int64) int64",
					"main.many":    "func(id, parent int64, entered *sync.WaitGroup, gate <-chan struct{}) int64",
				})
			}
			spans, summary, printed := trace(t, instrument.Config{Rules: rules},
				target.Command{Path: exe, Args: []string{"-goroutines=100"}})
			if summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0 || summary.Lost.ValuesFull != 0 {
				t.Errorf("lost: %+v", summary)
			}
			compare(t, spans, printed)
		})
	}
}

// refuses checks that an executable is not traced, for a reason.
func refuses(t *testing.T, config instrument.Config, exe, want string) {
	t.Helper()
	config.Command = &target.Command{Path: exe}
	config.Say, config.Log = func(string) {}, func(string) {}
	trace, err := instrument.Start(config)
	if err == nil {
		trace.Command().Kill()
		trace.Close()
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Start: %v", err)
	}
}

// Every function that the plan lets through is traced at once, those of the
// runtime among them: the program does not notice.
func TestEverything(t *testing.T) {
	archive := countingArchive(t)
	for _, version := range testprog.Versions() {
		for _, options := range []testprog.Options{
			{GoVersion: version},
			{GoVersion: version, Cgo: true, Flags: []string{"-ldflags=-linkmode=external"}},
		} {
			t.Run(options.String(), func(t *testing.T) {
				exe := testprog.Build(t, archive, options)
				kerneltest.Require(t)
				if !kerneltest.UprobeMulti() {
					// thousands of probes are too many
					refuses(t, instrument.Config{Rules: plan.Rules{Patterns: []string{"*"}}}, exe, "trace fewer functions (-f)")
					return
				}
				spans, summary, printed := trace(t,
					instrument.Config{Rules: plan.Rules{Patterns: []string{"*"}, Values: true}},
					target.Command{Path: exe})
				t.Logf("%d spans, %+v", len(spans), summary)
				truth := truthIn(t, printed)
				got := make(map[string]int64)
				for _, s := range spans {
					got[s.Function.FullName]++
				}
				for _, name := range counted {
					if lost := truth[name] - got[name]; lost < 0 || uint64(lost) > summary.LostSpans() {
						t.Errorf("%s: %d spans, %d calls, %d lost of all functions", name, got[name], truth[name], summary.LostSpans())
					}
				}
			})
		}
	}
}
