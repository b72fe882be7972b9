package instrument_test

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/hist"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// countCalls runs a command whose calls are counted in the kernel to its end, and
// returns the trace and what the command printed.
func countCalls(t *testing.T, config instrument.Config, command target.Command) (*instrument.Trace, *instrument.Summary, []byte) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	command.Stdout = w
	config.Command = &command
	config.Log = func(message string) { t.Log(message) }
	config.Say = config.Log
	running, err := instrument.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { running.Close() })
	printed := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(r)
		printed <- text
	}()
	summary, err := running.Run(context.Background())
	w.Close()
	text := <-printed
	if err != nil {
		t.Fatal(err)
	}
	return running, summary, text
}

// count returns the histograms that have something to tell, by function.
func count(t *testing.T, config instrument.Config, command target.Command) (map[string]hist.Histogram, *instrument.Summary, []byte) {
	t.Helper()
	config.Histograms, config.Rules.Durations = true, true
	running, summary, text := countCalls(t, config, command)
	all, err := running.Histograms()
	if err != nil {
		t.Fatal(err)
	}
	if inUse, err := running.InUse(); err != nil || len(inUse) > 0 {
		t.Errorf("left in the kernel: %v, %v", inUse, err)
	}
	seen := make(map[string]hist.Histogram)
	for _, h := range all {
		if h.Seen() {
			seen[h.Function] = h
		}
	}
	return seen, summary, text
}

// TestHistograms compares histograms with what the target knows of itself: under
// recursion, in goroutines that block and migrate, with every kind of end.
func TestHistograms(t *testing.T) {
	path := testprog.Build(t, "testdata/timing", testprog.Options{})
	kerneltest.Require(t)
	functions := []string{"main.nothing", "main.descend", "main.sleep", "main.try", "main.tryWide", "main.leave"}
	all, summary, printed := count(t, instrument.Config{Rules: plan.Rules{Patterns: functions}}, target.Command{Path: path, Args: []string{"50"}})
	var truth map[string]struct {
		Durations      []int64
		Errors, Panics uint64
	}
	if err := json.Unmarshal(printed, &truth); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	if summary.LostSpans() != 0 || summary.Open != 0 || summary.Spans != 0 {
		t.Errorf("lost %d, open %d, spans %d", summary.LostSpans(), summary.Open, summary.Spans)
	}
	nothing := truth["main.nothing"].Durations
	slices.Sort(nothing)
	cost := time.Duration(nothing[len(nothing)/2]) // of the probes of one call
	t.Logf("a call of a function that does nothing takes %v", cost)
	for _, name := range functions {
		h, own := all[name], truth[name]
		slices.Sort(own.Durations)
		if h.Calls != uint64(len(own.Durations)) || h.Errors != own.Errors || h.Panics != own.Panics || h.Unbucketed != 0 {
			t.Errorf("%s: %d calls, %d errors, %d panics, %d in no bucket; in truth %d, %d, %d",
				name, h.Calls, h.Errors, h.Panics, h.Unbucketed, len(own.Durations), own.Errors, own.Panics)
			continue
		}
		if own.Panics > 0 || name == "main.leave" {
			continue // who notes these calls does so before they are over
		}
		sum := time.Duration(0)
		for _, d := range own.Durations {
			sum += time.Duration(d)
		}
		// From the entry to the exit is part of what the caller has measured.
		if longest := time.Duration(own.Durations[len(own.Durations)-1]); h.Sum > sum || h.Max > longest || h.Max == 0 {
			t.Errorf("%s: sum %v, longest %v; in truth at most %v, %v", name, h.Sum, h.Max, sum, longest)
		}
		if name != "main.descend" && name != "main.sleep" {
			continue
		}
		quantiles := []float64{.5, .9, .95, .99, .999}
		if name == "main.descend" { // of 360 calls, at .9 from one depth to the next
			quantiles = []float64{.5, .95, .99}
		}
		for _, q := range quantiles {
			want, got := quantile(own.Durations, q), h.Quantile(q)
			t.Logf("%s: p%g %v, in truth %v (%+.1f%%)", name, q*100, got, want, float64(got-want)/float64(want)*100)
			// On a busy machine some calls are interrupted between the two clocks.
			least := quantile(own.Durations, q-min(.005, (1-q)/2))
			if got > want+want/50 || got < least-least/20-cost {
				t.Errorf("%s: p%g is %v, and the target says %v, of somewhat more calls at least %v", name, q*100, got, want, least)
			}
		}
	}
}

// quantile is that of durations in ascending order.
func quantile(durations []int64, q float64) time.Duration {
	return time.Duration(durations[int(math.Ceil(q*float64(len(durations))))-1])
}

// TestHistogramsOfStripped: without types nothing is known of errors, but of panics.
func TestHistogramsOfStripped(t *testing.T) {
	path := testprog.Build(t, "testdata/timing", testprog.Options{Flags: []string{"-ldflags=-s -w"}})
	kerneltest.Require(t)
	all, _, _ := count(t, instrument.Config{Rules: plan.Rules{Patterns: []string{"main.try"}}}, target.Command{Path: path})
	if h := all["main.try"]; h.Calls != 90 || h.Errors != 18 || h.Panics != 18 || h.Unknown == "" {
		t.Errorf("%+v", h)
	}
}

// TestHistogramsOpen: calls that have not ended are told, and looks at a trace come
// while it runs.
func TestHistogramsOpen(t *testing.T) {
	path := testprog.Build(t, ends, testprog.Options{})
	kerneltest.Require(t)
	for _, how := range []string{"exit", "exec itself"} {
		looks := 0
		config := instrument.Config{
			Rules: ending,
			Every: time.Nanosecond,
			Look:  func() { looks++ },
		}
		all, summary, _ := count(t, config, target.Command{Path: path, Args: []string{how}})
		if looks == 0 {
			t.Error("not looked at")
		}
		for _, name := range ending.Patterns {
			if h := all[name]; h.Open != 2 || h.Calls != 0 {
				t.Errorf("%s: %s: %d open, %d calls", how, name, h.Open, h.Calls)
			}
		}
		if summary.Open != 6 {
			t.Errorf("%s: %d open", how, summary.Open)
		}
	}
}
