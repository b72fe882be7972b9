package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspan/uspan/exporter"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// A call shows while it is open, once it has been so for 100 ms, and no
// earlier: it might have become one line.
func TestLongCallShowsWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out screen
		tree := OpenTree(&out, Config{})
		slow := newProgram(t, tree).begin(1, "main.slow")
		time.Sleep(hold - time.Nanosecond)
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("before the hold is over: %q", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := out.String(); !strings.HasSuffix(got, "╭ main.slow()\n") {
			t.Errorf("when the hold is over: %q", got)
		}
		slow.end()
		if err := tree.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What is held back shows at once when something happens within it.
func TestCallShowsWithItsFirstChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out screen
		tree := OpenTree(&out, Config{})
		p := newProgram(t, tree)
		outer := p.begin(1, "main.outer")
		inner := p.begin(1, "main.inner")
		synctest.Wait()
		if got := out.String(); !strings.HasSuffix(got, "╭ main.outer()\n") {
			t.Errorf("with a child: %q", got)
		}
		inner.end()
		outer.end()
		if err := tree.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A gate is a terminal that takes text only while it is open.
type gate struct {
	screen
	open chan struct{}
}

func (g *gate) Write(text []byte) (int, error) {
	<-g.open
	return g.screen.Write(text)
}

// A terminal that stands still holds up Export once, for patience; then lines
// are left out, counted, and said where they were.
func TestSlowTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := gate{open: make(chan struct{})}
		tree := OpenTree(&out, Config{})
		p := newProgram(t, tree)
		const calls = 3 * maxLines
		begun := time.Now()
		for range calls {
			p.begin(1, "main.f").end()
		}
		if waited := time.Since(begun); waited != patience {
			t.Errorf("Export waited %v, want %v", waited, patience)
		}
		close(out.open)
		synctest.Wait()
		p.begin(1, "main.afterwards").end()
		if err := tree.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}

		stats := tree.Stats()
		if len(stats.Lost) != 1 || stats.Lost[0].Cause != TooSlow {
			t.Fatalf("lost: %+v, want only %q", stats.Lost, TooSlow)
		}
		lost := stats.Lost[0].Spans
		if stats.Exported+lost != calls+1 {
			t.Errorf("%d exported and %d lost, want %d together", stats.Exported, lost, calls+1)
		}
		text := out.String()
		if got := uint64(strings.Count(text, "• main.")); got != stats.Exported {
			t.Errorf("%d lines, %d exported", got, stats.Exported)
		}
		if !strings.Contains(text, " lines left out: ") {
			t.Error("the tree does not say that lines were left out")
		}
		if !strings.HasSuffix(text, "main.afterwards()\n") {
			t.Error("the tree did not go on")
		}
	})
}

// Shutdown does not wait for a terminal longer than it may, and counts what it
// leaves.
func TestShutdownBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := gate{open: make(chan struct{})}
		tree := OpenTree(&out, Config{})
		p := newProgram(t, tree)
		for range 1000 {
			p.begin(1, "main.f").end()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := tree.Shutdown(ctx)
		if waited := time.Since(begun); waited > time.Second+farewell {
			t.Errorf("Shutdown took %v", waited)
		}
		if err == nil || !strings.Contains(err.Error(), "1000 spans") {
			t.Errorf("Shutdown: %v, want 1000 spans left", err)
		}
		if again := tree.Shutdown(ctx); !errors.Is(again, err) {
			t.Errorf("second Shutdown: %v, want %v", again, err)
		}
		want := []exporter.Loss{{Cause: exporter.Unsent, Spans: 1000, Reason: "the terminal stands still"}}
		if got := fmt.Sprint(tree.Stats().Lost); got != fmt.Sprint(want) {
			t.Errorf("lost %s, want %v", got, want)
		}
		close(out.open)
		synctest.Wait()
		if n := tree.Stats().Exported; n != 0 {
			t.Errorf("%d exported that were counted as lost", n)
		}
	})
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestWriteError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warnings []string
		tree := OpenTree(broken{io.ErrClosedPipe}, Config{
			Warn: func(w string) { warnings = append(warnings, w) },
		})
		p := newProgram(t, tree)
		for range 3 {
			p.leaf(1, "main.f", time.Second)
			synctest.Wait()
		}
		if err := tree.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], io.ErrClosedPipe.Error()) {
			t.Errorf("warnings: %q, want one", warnings)
		}
		if s := tree.Stats(); s.Exported != 0 || s.LostSpans() != 3 {
			t.Errorf("stats: %+v, want 3 lost", s)
		}
	})
}

// Nothing is kept of calls that have ended, whatever was lost of them.
func TestConstantMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := OpenTree(io.Discard, Config{})
		p := newProgram(t, tree)
		for goroutine := range uint64(2000) {
			outer := p.begin(goroutine+1, "main.outer")
			p.begin(goroutine+1, "main.unseen").vanish()
			p.call(goroutine+1, "main.unbegun").end()
			outer.end()
		}
		synctest.Wait()
		tree.mu.Lock()
		open, count, lines := len(tree.calls.open), tree.calls.count, len(tree.calls.lines)
		tree.mu.Unlock()
		if open != 0 || count != 0 || lines != 0 {
			t.Errorf("kept %d goroutines, %d calls, %d lines", open, count, lines)
		}
		if err := tree.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := tree.Stats().Exported; n != 4000 {
			t.Errorf("exported %d, want 4000", n)
		}
	})
}

// The event that fills the queue is kept, with all its lines.
func TestLastEvent(t *testing.T) {
	c := newCalls()
	now := time.Now()
	call := func(goroutine uint64, id byte) *span.Span {
		return &span.Span{Function: &span.Function{Name: "main.f"}, Goroutine: goroutine, ID: span.ID{id}, Level: int(id)}
	}
	ended := func(s *span.Span) *span.Span {
		end := *s
		end.End = now
		return &end
	}
	outer, middle, inner := call(1, 0), call(1, 1), call(1, 2)
	for _, s := range []*span.Span{outer, middle, inner} {
		c.add(s, now)
	}
	for len(c.lines) < maxLines-1 {
		c.add(ended(call(2, 0)), now)
	}
	if c.full || !c.add(ended(outer), now) || !c.full {
		t.Errorf("the end of three calls is not kept, or nothing is full with %d lines", len(c.lines))
	}
	if c.add(ended(call(2, 0)), now) {
		t.Error("a line is kept that there is no room for")
	}
}

// More calls may be open than are known: the ends of the others are lines.
func TestOpenCallsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := OpenTree(io.Discard, Config{})
		p := newProgram(t, tree)
		var calls []*open
		for goroutine := range uint64(maxOpen + 100) {
			calls = append(calls, p.begin(goroutine+1, "main.f"))
			if goroutine%1000 == 0 {
				synctest.Wait()
			}
		}
		if n := tree.calls.count; n != maxOpen {
			t.Errorf("%d open calls are known, want %d", n, maxOpen)
		}
		for i, c := range calls {
			c.end()
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		if err := tree.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s := tree.Stats(); s.Exported != maxOpen+100 {
			t.Errorf("%+v, want %d exported", s, maxOpen+100)
		}
	})
}

func TestExportAfterShutdown(t *testing.T) {
	tree := OpenTree(io.Discard, Config{})
	if err := tree.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	newProgram(t, tree).begin(1, "main.f").end()
	if s := tree.Stats(); s.LostSpans() != 1 || s.Lost[0].Cause != exporter.Late {
		t.Errorf("stats: %+v", s)
	}
}

// Several goroutines may export at once; each of their lines is whole.
func TestConcurrentExport(t *testing.T) {
	var out screen
	tree := OpenTree(&out, Config{Color: true, Width: func() int { return 80 }})
	var group sync.WaitGroup
	for goroutine := range uint64(8) {
		group.Go(func() {
			p := newProgram(t, tree)
			for range 100 {
				outer := p.begin(goroutine+1, "main.outer")
				p.begin(goroutine+1, "main.inner").end()
				outer.end()
			}
		})
	}
	group.Wait()
	if err := tree.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if got, want := strings.Count(out.String(), "\n"), 8*100*3; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
}

func TestDetectFile(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if c := Detect(file); c.Color || c.Width != nil {
		t.Errorf("a file is taken for a terminal: %+v", c)
	}
	t.Setenv("CLICOLOR_FORCE", "1")
	if !Detect(file).Color {
		t.Error("CLICOLOR_FORCE is not honoured")
	}
	t.Setenv("NO_COLOR", "1")
	if Detect(file).Color {
		t.Error("NO_COLOR is not honoured")
	}
}

func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ns", 999: "999ns", 1000: "1.00µs", 9994: "9.99µs", 9996: "10.0µs", 99_940: "99.9µs", 99_960: "100µs",
		999_499: "999µs", 999_500: "1.00ms", 1500 * time.Microsecond: "1.50ms", time.Second: "1.00s",
		59 * time.Second: "59.0s", 61500 * time.Millisecond: "1m2s", 90 * time.Minute: "1h30m0s",
	} {
		if got := human(d); got != want {
			t.Errorf("human(%d) = %s, want %s", d, got, want)
		}
	}
}

func BenchmarkTree(b *testing.B) {
	tree := OpenTree(io.Discard, Config{Color: true, Width: func() int { return 120 }})
	function := &span.Function{Name: "main.add"}
	resource := &span.Resource{}
	for i := range b.N {
		begin := &span.Span{Function: function, Resource: resource, Goroutine: uint64(i%8) + 1, ID: span.ID{byte(i), byte(i >> 8)},
			Start: time.Now(), Values: true, Args: []span.Value{value("a", int64(1)), value("s", "text")}}
		end := *begin
		end.End = time.Now()
		tree.Export([]*span.Span{begin, &end})
	}
	if err := tree.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(tree.Stats().LostSpans())/float64(b.N), "lost/op")
}

// Terminals are known by what they are, not by their names.
func TestColored(t *testing.T) {
	for _, test := range []struct {
		term, cliColor string
		want           bool
	}{
		{"foot", "", true}, {"screen", "", true}, {"xterm-256color", "1", true},
		{"xterm-256color", "0", false}, {"dumb", "", false}, {"", "", false},
	} {
		t.Setenv("NO_COLOR", "")
		t.Setenv("CLICOLOR_FORCE", "")
		t.Setenv("TERM", test.term)
		t.Setenv("CLICOLOR", test.cliColor)
		if got := colored(true); got != test.want {
			t.Errorf("TERM=%q CLICOLOR=%q: colours are %t", test.term, test.cliColor, got)
		}
	}
}
