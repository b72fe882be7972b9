package instrument_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// counted are the functions of testdata/counting that tell the truth about
// themselves.
var counted = []string{"main.recurse", "main.climb", "main.block", "main.short", "main.brief", "main.many"}

// collector is an Output that keeps what it gets.
type collector struct {
	mu    sync.Mutex
	spans []*span.Span
	also  instrument.Output // gets them, too, if it is there
}

func (c *collector) Export(spans []*span.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, spans...)
	if c.also != nil {
		c.also.Export(spans)
	}
}

// build builds testdata/NAME and returns an executable that is this test's alone.
func build(t testing.TB, name string, flags ...string) string {
	t.Helper()
	built, err := os.ReadFile(testprog.Build(t, "testdata/"+name, testprog.Options{Flags: flags}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, built, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// trace runs a command under uspan and returns its spans and what it printed.
func trace(t testing.TB, config instrument.Config, command target.Command) ([]*span.Span, *instrument.Summary, []byte) {
	t.Helper()
	spans, summary, status, printed := traceToEnd(t, config, command)
	if status.ExitCode() != 0 {
		t.Fatalf("the target ended with %v", status)
	}
	return spans, summary, printed
}

// traceTo is trace with a collector.
func traceTo(t testing.TB, config instrument.Config, spans *collector, command target.Command) ([]*span.Span, *instrument.Summary, []byte) {
	t.Helper()
	summary, status, printed := collect(t, config, spans, command)
	if status.ExitCode() != 0 {
		t.Fatalf("the target ended with %v", status)
	}
	return spans.spans, summary, printed
}

// traceToEnd is trace for a command that may fail.
func traceToEnd(t testing.TB, config instrument.Config, command target.Command) ([]*span.Span, *instrument.Summary, target.Status, []byte) {
	t.Helper()
	var spans collector
	summary, status, printed := collect(t, config, &spans, command)
	return spans.spans, summary, status, printed
}

func collect(t testing.TB, config instrument.Config, spans *collector, command target.Command) (*instrument.Summary, target.Status, []byte) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	command.Stdout = w
	config.Outputs = []instrument.Output{spans}
	printed := make(chan []byte)
	go func() {
		line, _ := bufio.NewReader(r).ReadBytes('\n')
		printed <- line
	}()
	summary, status := run(t, config, command)
	w.Close()
	return summary, status, <-printed
}

// run traces a command to its end.
func run(t testing.TB, config instrument.Config, command target.Command) (*instrument.Summary, target.Status) {
	t.Helper()
	config.Command = &command
	config.Log = func(message string) { t.Log(message) }
	config.Say = config.Log
	running, err := instrument.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	summary, err := running.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	status, err := running.Command().Wait()
	if err != nil {
		t.Fatal(err)
	}
	return summary, status
}

// TestCounting compares the spans with what the target knows of itself.
func TestCounting(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	plain, collecting := 20, 5
	if testing.Short() {
		plain, collecting = 5, 2
	}
	for run := range plain {
		t.Run(fmt.Sprint(run), func(t *testing.T) { testCounting(t, exe, nil) })
	}
	for run := range collecting {
		t.Run(fmt.Sprintf("GOGC=1/%d", run), func(t *testing.T) {
			testCounting(t, exe, append(os.Environ(), "GOGC=1"))
		})
	}
	t.Run("10000 goroutines", func(t *testing.T) { testCounting(t, exe, nil, "-goroutines=10000") })
}

func testCounting(t *testing.T, exe string, env []string, args ...string) {
	spans, summary, printed := trace(t,
		instrument.Config{Rules: plan.Rules{Patterns: counted, Values: true}},
		target.Command{Path: exe, Args: args, Env: env})
	if summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0 || summary.Lost.ValuesFull != 0 {
		t.Errorf("lost: %+v", summary)
	}
	compare(t, spans, printed)
}

// truthIn is what a target printed of itself: how often each function ran, and more.
func truthIn(t *testing.T, printed []byte) (truth map[string]int64) {
	t.Helper()
	if err := json.Unmarshal(printed, &truth); err != nil {
		t.Fatalf("the target printed %q: %v", printed, err)
	}
	return truth
}

// compareCounts checks how many spans functions have, of programs that tell no more
// of themselves.
func compareCounts(t *testing.T, names []string, spans []*span.Span, printed []byte) {
	t.Helper()
	truth, got := truthIn(t, printed), make(map[string]int64)
	for _, s := range spans {
		got[s.Function.Name]++
	}
	for _, name := range names {
		if got[name] != truth[name] || got[name] == 0 {
			t.Errorf("%s: %d spans, %d calls", name, got[name], truth[name])
		}
	}
}

// compare checks spans against the truth: counts, ids, parents, sums, durations.
func compare(t *testing.T, spans []*span.Span, printed []byte) {
	t.Helper()
	truth := truthIn(t, printed)
	counts := make(map[string]int64)
	byID := make(map[span.ID]*span.Span)
	var sum int64
	for _, s := range spans {
		counts[s.Function.Name]++
		if byID[s.ID] != nil {
			t.Fatalf("two spans with the id %x", s.ID)
		}
		byID[s.ID] = s
		sum += number(t, s.Args, "id")
	}
	for _, name := range counted {
		if counts[name] != truth[name] {
			t.Errorf("%s: %d spans, %d calls", name, counts[name], truth[name])
		}
	}
	if sum != truth["sum"] {
		t.Errorf("the sum of the arguments is %d, not %d", sum, truth["sum"])
	}
	wrong := 0
	for _, s := range spans {
		if wrong > 10 {
			t.Fatal("and so on")
		}
		parent := number(t, s.Args, "parent")
		p := byID[s.Parent]
		switch {
		case parent == 0 && s.Parent != span.ID{}:
			t.Errorf("%s(%d) has a parent and is a root", s.Function.Name, number(t, s.Args, "id"))
			wrong++
		case parent != 0 && (p == nil || number(t, p.Args, "id") != parent):
			t.Errorf("%s(%d): its parent is not %d", s.Function.Name, number(t, s.Args, "id"), parent)
			wrong++
		case p != nil && (p.TraceID != s.TraceID || p.Start.After(s.Start) || p.End.Before(s.End)):
			t.Errorf("%s(%d) does not lie in its parent", s.Function.Name, number(t, s.Args, "id"))
			wrong++
		}
		if body := time.Duration(number(t, s.Results, "0")); s.Duration() < body {
			t.Errorf("%s(%d) took %v, its body alone %v", s.Function.Name, number(t, s.Args, "id"), s.Duration(), body)
			wrong++
		}
	}
}

func number(t *testing.T, values []span.Value, name string) int64 {
	t.Helper()
	for _, value := range values {
		if value.Name == name {
			if n, ok := value.Value.(int64); ok {
				return n
			}
		}
	}
	t.Fatalf("no number %s among %v", name, values)
	return 0
}
