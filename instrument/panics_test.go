package instrument_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
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

// fate is what testdata/panics says of a call.
type fate struct {
	ID, Parent    int64
	End           string
	Type, Message string
	Before        int64
}

var unwinding = plan.Rules{Patterns: []string{`/^main\.(frame|guards?|sequence)$/`}, Values: true}

// A call that a panic or Goexit unwinds ends when it is unwound, with the value
// of the panic that did it, and what comes afterwards is never its child.
func TestPanics(t *testing.T) {
	eachTree(t, archiveOf(t, "panics"), testprog.Options{}, func(t *testing.T, exe string, options testprog.Options, _ int) {
		testPanics(t, exe, older(options)...)
	})
}

// older are the arguments of testdata/panics for a release.
func older(options testprog.Options) []string {
	if options.GoVersion != "" && options.GoVersion < "go1.22" {
		return []string{"-before-1.22"}
	}
	return nil
}

func testPanics(t *testing.T, exe string, args ...string) {
	spans, summary, printed := trace(t, instrument.Config{Rules: unwinding}, target.Command{Path: exe, Args: args})
	if summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0 || summary.Lost.PanicsFull != 0 || summary.Lost.LeftOpen != 0 {
		t.Errorf("lost: %+v", summary)
	}
	compareFates(t, spans, printed)
}

func compareFates(t *testing.T, spans []*span.Span, printed []byte) {
	t.Helper()
	var fates []fate
	if err := json.Unmarshal(printed, &fates); err != nil {
		t.Fatalf("the target printed %q: %v", printed, err)
	}
	byCall := make(map[int64]*span.Span)
	byID := make(map[span.ID]*span.Span)
	for _, s := range spans {
		id := number(t, s.Args, "id")
		if byCall[id] != nil {
			t.Fatalf("call %d has two spans", id)
		}
		byCall[id], byID[s.ID] = s, s
	}
	if len(spans) != len(fates) {
		t.Errorf("%d spans of %d calls", len(spans), len(fates))
	}
	for _, f := range fates {
		s := byCall[f.ID]
		if s == nil {
			t.Errorf("call %d has no span", f.ID)
			continue
		}
		for _, wrong := range f.differences(s, byCall, byID) {
			t.Errorf("call %d of %s: %s", f.ID, s.Function.Name, wrong)
		}
	}
}

// differences are what a span says that is not so.
func (f *fate) differences(s *span.Span, byCall map[int64]*span.Span, byID map[span.ID]*span.Span) (all []string) {
	wrong := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	end := "return"
	if s.Incomplete != "" {
		end = string(s.Incomplete)
	}
	if end != f.End {
		wrong("its end is %q, want %q", end, f.End)
	}
	parent := byID[s.Parent]
	switch {
	case f.Parent == 0 && s.Parent != span.ID{}:
		wrong("it has a parent")
	case f.Parent != 0 && (parent == nil || parent != byCall[f.Parent]):
		wrong("its parent is not %d", f.Parent)
	case parent != nil && (parent.Start.After(s.Start) || parent.End.Before(s.End)):
		wrong("it does not lie in its parent")
	}
	if before := byCall[f.Before]; before != nil && s.End.After(before.Start) {
		wrong("it ends after %d begins", f.Before)
	}
	if f.End != "panic" {
		if s.Failed() {
			wrong("it failed: %v", s.Error)
		}
		return all
	}
	if s.Error == nil {
		wrong("it has no error: %v", s.Unavailable)
		return all
	}
	message := f.Message
	if len(message) > 256 {
		message = message[:256]
		if !slices.Contains(s.Truncated, fmt.Sprintf("panic: 256 of %d bytes", len(f.Message))) {
			wrong("it is not said to be truncated: %q", s.Truncated)
		}
	}
	if s.Error.Type != f.Type || s.Error.Message != message {
		wrong("the panic is %s %q, want %s %q", s.Error.Type, s.Error.Message, f.Type, message)
	}
	return all
}

// A panic that kills the process ends the calls that it has passed; those of
// other goroutines end with the process, whichever of them it is in.
func TestFatalPanic(t *testing.T) {
	eachTree(t, archiveOf(t, "panics"), testprog.Options{}, func(t *testing.T, exe string, options testprog.Options, _ int) {
		for open, args := range [][]string{1: {"-die"}, 2: {"-die", "-elsewhere"}} {
			if args == nil {
				continue
			}
			spans, summary, status, printed := traceToEnd(t, instrument.Config{Rules: unwinding},
				target.Command{Path: exe, Args: append(older(options), args...), Stderr: null(t)})
			if status.ExitCode() != 2 || summary.LostSpans() != 0 || summary.Open != uint64(open) {
				t.Errorf("%v, %+v", status, summary)
			}
			compareFates(t, spans, printed)
			for _, s := range spans {
				if s.Incomplete == span.ProcessExit && (s.Exit == nil || s.Exit.Status != 2) {
					t.Errorf("%s was open when the process ended, %+v", s.Function.Name, s.Exit)
				}
			}
		}
	})
}

// Tests that fail at once or are skipped end their calls by runtime.Goexit.
func TestFailNow(t *testing.T) {
	eachTree(t, archiveOf(t, "panics"), testprog.Options{}, func(t *testing.T, exe string, _ testprog.Options, _ int) {
		spans, summary, status, printed := traceToEnd(t, instrument.Config{Rules: unwinding}, target.Command{Path: exe, Args: []string{"-fail"}})
		if status.ExitCode() != 1 || summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0 || summary.Lost.LeftOpen != 0 {
			t.Errorf("%v, %+v", status, summary)
		}
		compareFates(t, spans, printed)
	})
}

// A million panics leave nothing behind, and uspan's own memory does not grow.
func TestManyPanics(t *testing.T) {
	n := 20_000
	if os.Getenv("TEST_ALL") == "1" {
		n = 1_000_000
	}
	exe := testprog.Build(t, archiveOf(t, "panics"), testprog.Options{})
	kerneltest.Require(t)
	var sums tally
	memory := growth{Output: &sums, first: n / 4}
	summary, inUse := runAndWait(t, instrument.Config{Rules: unwinding}.WithRing(roomForAll), &memory,
		target.Command{Path: exe, Args: []string{"-many=" + fmt.Sprint(n)}})
	if len(inUse) != 0 {
		t.Errorf("the kernel still has entries: %v", inUse)
	}
	// A panic that has no room in the ring is counted, as a call is.
	if lost := summary.LostSpans(); sums.spans+int(lost) != 3*n || summary.Open != 0 || summary.Lost.PanicsFull > summary.Lost.RingFull || summary.Lost.LeftOpen != 0 {
		t.Errorf("%d spans of %d calls: %+v", sums.spans, 3*n, summary)
	}
	if sums.wrong != "" {
		t.Error(sums.wrong)
	}
	memory.check(t)
	t.Logf("%d spans, %+v", sums.spans, summary.Lost)
}

// runAndWait traces a command that prints a line when it has done everything,
// and ends with its standard input; inUse is what the kernel has in between.
func runAndWait(t *testing.T, config instrument.Config, memory *growth, command target.Command) (summary *instrument.Summary, inUse map[string]int) {
	t.Helper()
	stdin, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	done, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer done.Close()
	command.Stdin, command.Stdout = stdin, stdout
	config.Command = &command
	config.Outputs = []instrument.Output{memory}
	config.Say = func(message string) { t.Log(message) }
	config.Log = config.Say
	running, err := instrument.Start(config)
	stdin.Close()
	stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	counted := make(chan map[string]int)
	go func() {
		if _, err := done.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		entries, err := running.InUse()
		if err != nil {
			t.Error(err)
		}
		memory.settle()
		end.Close()
		counted <- entries
	}()
	if summary, err = running.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	inUse = <-counted
	delete(inUse, "statements") // until the process ends
	if left, err := running.InUse(); err != nil || len(left) != 0 {
		t.Errorf("the kernel still has entries of a process that has ended: %v, %v", left, err)
	}
	return summary, inUse
}

// tally checks spans of many panics without keeping them.
type tally struct {
	spans int
	wrong string
}

func (c *tally) Export(spans []*span.Span) {
	for _, s := range spans {
		c.spans++
		id := s.Args[0].Value.(int64)
		wrong := false
		switch {
		case (s.Parent == span.ID{}) != (id != 2), (s.Incomplete == span.Panic) != (id == 2):
			wrong = true
		case id == 2:
			wrong = s.Error == nil || s.Error.Message != "one of many"
		}
		if wrong && c.wrong == "" {
			c.wrong = fmt.Sprintf("call %d: parent %x, %s, %v, %s", id, s.Parent, s.Incomplete, s.Error, strings.Join(s.Unavailable, ", "))
		}
	}
}

// endless has functions that never return, and says how often they were called.
const endless = `
-- go.mod --
module example.com/endless

go 1.18
-- main.go --
package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

var broken = errors.New("broken")

//go:noinline
func fail(format string, err error) { panic(fmt.Errorf(format, err)) }

//go:noinline
func give() { runtime.Goexit() }

//go:noinline
func deeper(n int) {
	if n == 0 {
		fail("deep: %w", broken)
	}
	deeper(n - 1)
	panic("not reached")
}

//go:noinline
func after() {}

//go:noinline
func work(jobs chan func()) {
	for {
		(<-jobs)()
	}
}

//go:noinline
func try(f func()) {
	defer func() { recover() }()
	f()
}

var sink int

func main() {
	jobs := make(chan func())
	go work(jobs)
	var all sync.WaitGroup
	for i := 0; i < 100; i++ {
		try(func() { fail("plain: %w", broken) })
		after()
		try(func() { deeper(3) })
		all.Add(2)
		go func() {
			defer all.Done()
			defer after()
			give()
		}()
		jobs <- func() { after(); all.Done() }
		all.Wait()
	}
	for runtime.NumGoroutine() > 2 { // this one and work's: Goexit has come to its end
		time.Sleep(time.Millisecond)
	}
	fmt.Println("done")
}
`

// Functions that never return end by a panic, Goexit, or with the process.
func TestNeverReturns(t *testing.T) {
	eachBuild(t, endless, func(t *testing.T, exe string, _ testprog.Options, _ int) {
		rules := plan.Rules{Patterns: []string{`/^main[.](fail|give|deeper|after|work|try)$/`}}
		spans, summary, _ := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
		if summary.LostSpans() != 0 || summary.Lost.LeftOpen != 0 || summary.Lost.Unpaired != 0 || summary.Lost.PanicsFull != 0 {
			t.Errorf("lost: %+v", summary)
		}
		all := newForest(spans)
		got := make(map[string]int)
		for _, s := range spans {
			what := fmt.Sprintf("%s from %s", s.Function.Name, all.above(s))
			if s.Incomplete != "" {
				what += ": " + string(s.Incomplete)
			}
			if s.Error != nil {
				what += ", " + s.Error.Message
			}
			got[what]++
		}
		want := map[string]int{
			"main.try from none":                                200,
			"main.fail from main.try: panic, plain: broken":     100,
			"main.deeper from main.try: panic, deep: broken":    100,
			"main.deeper from main.deeper: panic, deep: broken": 300,
			"main.fail from main.deeper: panic, deep: broken":   100,
			"main.give from none: goexit":                       100,
			"main.work from none: process exit":                 1,
			"main.after from none":                              100,
			"main.after from main.give":                         100,
			"main.after from ⇠ main.work":                       100,
		}
		if runtime.GOARCH == "arm64" { // see begins_trace in root.h
			delete(want, "main.after from ⇠ main.work")
			want["main.after from main.work"] = 100
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
