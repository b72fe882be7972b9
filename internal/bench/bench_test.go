package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/internal/kerneltest"
)

// TestTarget: the traced function is what the benchmark says it is.
func TestTarget(t *testing.T) {
	executable, err := buildTarget(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := gobin.Open(executable)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	planned, err := plan.Build(file, plan.Rules{Patterns: []string{work}, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &planned.Functions[0]
	if entry := f.Entries[0]; entry.Kind != gobin.PushFrame || !entry.Emulated {
		t.Errorf("the entry is no PUSHQ BP: %+v", entry)
	}
	if len(f.Exits) != 1 || f.Exits[0].Kind != gobin.Return {
		t.Errorf("the exits are not one RET: %+v", f.Exits)
	}
	var kinds []plan.Kind
	for _, capture := range append(f.Args.Captures, f.Results.Captures...) {
		kinds = append(kinds, capture.Node.Kind)
	}
	for _, kind := range []plan.Kind{plan.Int, plan.String, plan.Error} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no capture of kind %v among %v", kind, kinds)
		}
	}
}

// TestVariants: every variant sees every call.
func TestVariants(t *testing.T) {
	kerneltest.Require(t)
	s := settings{rounds: 2, round: 10 * time.Millisecond}
	results, err := measure(t.Context(), variants, s)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		t.Run(variants[i].name, func(t *testing.T) {
			if r.missing != nil {
				kerneltest.Missing(t, "%v", r.missing)
			}
			if len(r.costs) != s.rounds || r.calls == 0 {
				t.Errorf("%d rounds, %d calls", len(r.costs), r.calls)
			}
			if err := r.check(); err != nil {
				t.Error(err)
			}
			switch r.variant {
			case untraced, floor:
			case usualRecipe:
				// It loses calls whose goroutine changes threads, and counts them.
				if r.tally.lost > r.calls/100 {
					t.Errorf("%d calls, %d lost", r.calls, r.tally.lost)
				}
			case bpftraceName:
				// The prologue runs again when the goroutine is preempted there.
				if r.tally.seen < r.calls || r.tally.seen > r.calls+r.calls/100 {
					t.Errorf("%d calls, %d hits", r.calls, r.tally.seen)
				}
			default:
				if r.tally.seen != r.calls || r.tally.lost != 0 {
					t.Errorf("%d calls, %d seen, %d lost", r.calls, r.tally.seen, r.tally.lost)
				}
			}
		})
	}
}

// TestCreations: uspan's probe is on the `go` statement of the traced function, where
// the kernel emulates the instruction, and on no other.
func TestCreations(t *testing.T) {
	executable, err := buildTarget(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	planned, err := (&target{path: executable, function: begin}).plan()
	if err != nil {
		t.Fatal(err)
	}
	if len(planned.GoSites) != 1 || planned.GoSites[0].Name != begin || !planned.GoSites[0].Emulated {
		t.Errorf("the `go` statements: %+v", planned.GoSites)
	}
	kerneltest.Require(t)
	results, err := measure(t.Context(), creations, settings{rounds: 2, round: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if err := r.check(); err != nil || r.missing != nil || r.calls == 0 {
			t.Errorf("%s: %d goroutines, %v %v", r.variant, r.calls, err, r.missing)
		}
		if r.variant == goElsewhere && r.tally.seen != 0 || r.variant == goInside && r.tally.seen == 0 {
			t.Errorf("%s: %+v", r.variant, r.tally)
		}
		if r.variant == goReads && r.tally.lost > r.calls/1000 {
			t.Errorf("%s: %d of %d could not be read", r.variant, r.tally.lost, r.calls)
		}
	}
	var b strings.Builder
	printCreations(&b, results)
	if !strings.Contains(b.String(), "times the "+goUntraced) || !strings.Contains(b.String(), "with these alone") || !strings.Contains(b.String(), "times the "+goFloor) {
		t.Error(b.String())
	}
}

// TestKinds: the functions for kinds of values have one argument of that kind,
// which can be captured, and their calls are seen.
func TestKinds(t *testing.T) {
	executable, err := buildTarget(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := gobin.Open(executable)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := []plan.Kind{
		plan.Int, plan.String, plan.Bytes, plan.Slice, plan.Slice, plan.Struct, plan.Pointer, plan.Map, plan.Interface,
		plan.Error, plan.Time, plan.Pointer,
	}
	for i, k := range kinds {
		planned, err := plan.Build(file, plan.Rules{Patterns: []string{k.function}, Values: true, Depth: k.depth})
		if err != nil {
			t.Fatal(err)
		}
		f := &planned.Functions[0]
		if len(f.Args.Captures) != 1 || f.Args.Captures[0].Node.Kind != want[i] || len(f.Results.Captures) != 0 {
			t.Errorf("%s: %+v", k.name, f.Args)
		}
		if entry := f.Entries[0]; entry.Kind != gobin.PushFrame || len(f.Exits) != 1 {
			t.Errorf("%s: no PUSHQ BP or not one exit", k.name)
		}
	}
	kerneltest.Require(t)
	results, err := measure(t.Context(), kindVariants()[:2], settings{rounds: 2, round: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.calls == 0 || r.tally.seen != r.calls {
			t.Errorf("%s: %d calls, %+v", r.variant, r.calls, r.tally)
		}
	}
	var b strings.Builder
	printKinds(&b, results)
	if !strings.Contains(b.String(), "  int ") {
		t.Error(b.String())
	}
}

// TestFloor: the empty programs run twice a call, as the kernel counts.
func TestFloor(t *testing.T) {
	kerneltest.Require(t)
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	dir := t.TempDir()
	executable, err := buildTarget(dir)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := variant{floor, work, attachFloor}.start(executable, dir+"/copy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subject.round(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ran, err := subject.tracer.(floorProbes).objects.Nothing.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if subject.calls == 0 || ran.RunCount != 2*subject.calls {
		t.Errorf("%d calls, %d runs", subject.calls, ran.RunCount)
	}
	if err := subject.close(); err != nil {
		t.Error(err)
	}
}

// TestCheck: calls that are neither seen nor lost are an error.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		tally tally
		ok    bool
	}{
		"all seen":    {tally{known: true, exact: true, seen: 10}, true},
		"some lost":   {tally{known: true, exact: true, seen: 7, lost: 3}, true},
		"one missing": {tally{known: true, exact: true, seen: 7, lost: 2}, false},
		"one twice":   {tally{known: true, exact: true, seen: 11}, false},
		"not counted": {tally{}, true},
		"not exact":   {tally{known: true, seen: 12}, true},
	} {
		r := result{variant: name, calls: 10, tally: test.tally}
		if err := r.check(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQuartiles(t *testing.T) {
	for _, test := range []struct {
		numbers []float64
		want    quartiles
	}{
		{[]float64{7}, quartiles{7, 7, 7}},
		{[]float64{3, 1}, quartiles{1.5, 2, 2.5}},
		{[]float64{5, 1, 4, 2, 3}, quartiles{2, 3, 4}},
	} {
		if got := quartilesOf(test.numbers); got != test.want {
			t.Errorf("%v: %v, not %v", test.numbers, got, test.want)
		}
	}
	if got, want := differences([]float64{2, 4, 20}, []float64{1, 2, 10}), (quartiles{1.5, 2, 6}); got != want {
		t.Errorf("differences: %v, not %v", got, want)
	}
	// Each round is compared with its own: twice the cost on a machine that slows down.
	if got, want := ratios([]float64{2, 4, 20}, []float64{1, 2, 10}), (quartiles{2, 2, 2}); got != want {
		t.Errorf("ratios: %v, not %v", got, want)
	}
}

// TestTable: what was measured, what was not, and whether the goals are reached.
func TestTable(t *testing.T) {
	results := []*result{
		{variant: untraced, costs: []float64{1.5}, calls: 1000},
		{variant: floor, costs: []float64{1000}, calls: 100},
		{variant: uspanBare, costs: []float64{1250}, calls: 100, tally: tally{known: true, exact: true, seen: 99, lost: 1}},
		{variant: uspanHist, costs: []float64{1200}, calls: 100, tally: tally{known: true, exact: true, seen: 100}},
		{variant: usualRecipe, costs: []float64{2000}, calls: 100, tally: tally{known: true, exact: true, seen: 100}},
		{variant: bpftraceName, missing: errMissing},
	}
	var b strings.Builder
	printTable(&b, results, "call", ofCalls)
	printGoals(&b, results)
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		untraced + " 1.5 1.5 … 1.5 0.00 0.00 1000 – –",
		floor + " 1000 1000 … 1000 1.00 0.50 100 – –",
		uspanBare + " 1250 1250 … 1250 1.25 0.62 100 99 1",
		bpftraceName + " not installed",
		"1.25 (1.25 … 1.25) times the " + floor + "; at most 1.3: reached",
		"0.62 (0.62 … 0.62) times the " + usualRecipe + "; at most 0.6: missed " + uspanHist + ": 1.20 (1.20 … 1.20) times",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestLastHits(t *testing.T) {
	for text, want := range map[string]uint64{
		"Attaching 1 probe...\n":                          0,
		"Attaching 1 probe...\n@hits: 5\n\n@hits: 1000\n": 1000,
		"@hits: 12": 12,
	} {
		if got, ok := lastHits(text); got != want || ok != (want > 0) {
			t.Errorf("%q: %d, %t", text, got, ok)
		}
	}
}
