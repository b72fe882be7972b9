package instrument_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// Where uspan cannot see panics, in a runtime that lacks a function that it looks for,
// calls that are unwound end all the same, with the next event of their goroutine or
// the process, and say so.
func TestUnwatchedPanics(t *testing.T) {
	built := testprog.Build(t, archiveOf(t, "panics"), testprog.Options{})
	kerneltest.Require(t)
	code, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	// The name in the table of functions, of the same length.
	code = bytes.ReplaceAll(code, []byte("runtime.fatalpanic\x00"), []byte("runtime.fatalpanik\x00"))
	exe := filepath.Join(t.TempDir(), "panics")
	if err := os.WriteFile(exe, code, 0o755); err != nil {
		t.Fatal(err)
	}
	spans, summary, printed := trace(t, instrument.Config{Rules: unwinding}, target.Command{Path: exe})
	if summary.LostSpans() != 0 || summary.Lost.Unpaired != 0 || summary.Lost.LeftOpen != 0 {
		t.Errorf("lost: %+v", summary)
	}
	var fates []fate
	if err := json.Unmarshal(printed, &fates); err != nil {
		t.Fatalf("the target printed %q: %v", printed, err)
	}
	if len(spans) != len(fates) {
		t.Errorf("%d spans of %d calls", len(spans), len(fates))
	}
	byCall := make(map[int64]*span.Span)
	for _, s := range spans {
		byCall[number(t, s.Args, "id")] = s
	}
	unwound, left := 0, 0
	for _, f := range fates {
		s := byCall[f.ID]
		if s == nil {
			t.Errorf("call %d has no span", f.ID)
			continue
		}
		// Nothing may come after the last call of a goroutine, but where another is given
		// its g.
		ends := []span.Incomplete{""}
		if f.End != "return" {
			ends = []span.Incomplete{span.Unwound}
		}
		if f.End == "goexit" || f.End != "return" && byCall[f.Before] == nil {
			ends = append(ends, span.ProcessExit)
		}
		if !slices.Contains(ends, s.Incomplete) || s.Error != nil {
			t.Errorf("call %d of %s, whose fate is %s, ends by %q, %v", f.ID, s.Function.Name, f.End, s.Incomplete, s.Error)
		}
		if next := byCall[f.Before]; next != nil && (next.Parent == s.ID || s.End.After(next.Start)) {
			t.Errorf("call %d is not over when %d begins", f.ID, f.Before)
		}
		switch s.Incomplete {
		case span.Unwound:
			unwound++
		case span.ProcessExit:
			left++
		}
	}
	if unwound == 0 || uint64(left) != summary.Open {
		t.Errorf("%d are unwound, %d open when the process ended; %+v", unwound, left, summary)
	}
}
