package instrument_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// The counting program gives the same exact spans by whatever release of Go and
// in whatever way it is built; without DWARF, at least every call has its span.
func TestVersions(t *testing.T) {
	kerneltest.Require(t)
	source, err := os.ReadFile("testdata/counting/main.go")
	if err != nil {
		t.Fatal(err)
	}
	archive := "-- go.mod --\nmodule example.com/counting\n\ngo 1.18\n-- main.go --\n" + string(source)
	for _, options := range testprog.Matrix() {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, archive, options)
			spans, summary, printed := trace(t,
				instrument.Config{Rules: plan.Rules{Patterns: counted, Values: true}},
				target.Command{Path: exe})
			if summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0 || summary.Lost.ValuesFull != 0 {
				t.Errorf("lost: %+v", summary)
			}
			if len(spans) > 0 && spans[0].Values {
				compare(t, spans, printed)
				return
			}
			var truth map[string]int64
			if err := json.Unmarshal(printed, &truth); err != nil {
				t.Fatalf("the target printed %q: %v", printed, err)
			}
			got := make(map[string]int64)
			for _, s := range spans {
				got[s.Function.Name]++
			}
			for _, name := range counted {
				if got[name] != truth[name] {
					t.Errorf("%s: %d spans, %d calls", name, got[name], truth[name])
				}
			}
		})
	}
}
