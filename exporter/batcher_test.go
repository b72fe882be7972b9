package exporter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// sink is an output for a batcher, that does what the test says.
type sink struct {
	*batcher
	tally Tally

	mu       sync.Mutex
	answer   func(ctx context.Context, n int) outcome
	batches  []int           // the sizes of the batches
	at       []time.Duration // and when they came
	warnings []string
}

func newSink(settings batching, answer func(ctx context.Context, n int) outcome) *sink {
	s := &sink{answer: answer}
	start := time.Now()
	s.batcher = newBatcher("sink", settings, s.hear, &s.tally,
		func(ctx context.Context, batch []*span.Span) outcome {
			s.mu.Lock()
			s.batches = append(s.batches, len(batch))
			s.at = append(s.at, time.Since(start))
			answer := s.answer
			s.mu.Unlock()
			return answer(ctx, len(batch))
		})
	return s
}

func (s *sink) hear(warning string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = append(s.warnings, warning)
}

// become lets the output answer otherwise from now on.
func (s *sink) become(answer func(ctx context.Context, n int) outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// seen is what the output has seen and said up to now.
func (s *sink) seen() (batches []int, at []time.Duration, warnings []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches), slices.Clone(s.at), slices.Clone(s.warnings)
}

func accept(_ context.Context, n int) outcome { return outcome{exported: n} }

func refuse(context.Context, int) outcome { return outcome{retry: errors.New("nobody there")} }

// standStill takes nothing until time is up.
func standStill(ctx context.Context, _ int) outcome {
	<-ctx.Done()
	return outcome{retry: ctx.Err()}
}

// some are n spans that have ended.
func some(n int) []*span.Span {
	spans := make([]*span.Span, n)
	for i := range spans {
		spans[i] = &span.Span{Start: time.Unix(1, 0), End: time.Unix(2, 0)}
	}
	return spans
}

func (s *sink) check(t *testing.T, exported uint64, lost ...Loss) {
	t.Helper()
	stats := s.tally.Stats()
	if stats.Exported != exported || !slices.Equal(stats.Lost, lost) {
		t.Errorf("stats %+v, want %d exported, lost %+v", stats, exported, lost)
	}
}

var small = batching{delay: time.Second, maxQueue: 100, maxBatch: 10, timeout: time.Minute}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(small, accept)
		s.export(some(3))
		s.export([]*span.Span{{Start: time.Unix(1, 0)}}) // has only begun
		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		if batches, _, _ := s.seen(); len(batches) != 0 {
			t.Errorf("sent %v before the delay was over", batches)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		s.export(some(25))
		synctest.Wait()
		if batches, _, _ := s.seen(); !slices.Equal(batches, []int{3, 10, 10}) {
			t.Errorf("batches %v: whole batches go at once", batches)
		}
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if batches, _, _ := s.seen(); !slices.Equal(batches, []int{3, 10, 10, 5}) {
			t.Errorf("batches %v", batches)
		}
		s.export(some(2))
		s.check(t, 28, Loss{Cause: Late, Spans: 2})
	})
}

// What fits in the queue survives an output that is away for hours.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(small, refuse)
		s.export(some(small.maxQueue))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		_, at, _ := s.seen()
		if attempts := len(at); attempts < 1000 || attempts > 3000 {
			t.Errorf("%d attempts in three hours", attempts)
		}
		for i := 1; i < len(at); i++ {
			if pause := at[i] - at[i-1]; pause < firstRetry || pause > lastRetry*5/4 {
				t.Fatalf("pause of %v", pause)
			}
		}
		s.check(t, 0)
		if why := s.why(); why != "nobody there" {
			t.Errorf("away is %q", why)
		}

		s.become(accept)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		s.check(t, uint64(small.maxQueue))
		if why := s.why(); why != "" {
			t.Errorf("away is %q when it is back", why)
		}
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		want := []string{
			"sink is away: nobody there; up to 100 spans are kept and sent when it is back",
			"sink is back",
		}
		if _, _, warnings := s.seen(); !slices.Equal(warnings, want) {
			t.Errorf("warnings %q, want %q", warnings, want)
		}
	})
}

func TestPauseOfEndpointIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		s := newSink(small, func(_ context.Context, n int) outcome {
			if attempts++; attempts == 1 {
				return outcome{retry: errors.New("too much"), pause: time.Hour}
			}
			return outcome{exported: n}
		})
		s.export(some(1))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if _, at, _ := s.seen(); len(at) != 2 || at[1]-at[0] != time.Hour {
			t.Errorf("attempts at %v", at)
		}
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A full queue holds Export up for patience once; what has no room is lost and
// counted, and said once.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(small, standStill)
		begun := time.Now()
		s.export(some(small.maxQueue + 7))
		s.export(append(some(5), &span.Span{}))
		if waited := time.Since(begun); waited != patience {
			t.Errorf("Export waited %v, want %v", waited, patience)
		}
		s.check(t, 0, Loss{Cause: QueueFull, Spans: 12})
		synctest.Wait()
		if _, _, warnings := s.seen(); len(warnings) != 1 || !strings.Contains(warnings[0], "queue of 100 spans is full") {
			t.Errorf("warnings %q, want one", warnings)
		}
		s.cancel()
		<-s.done
		if err := s.shutdown(t.Context()); err == nil {
			t.Error("Shutdown is silent about what it left")
		}
		s.check(t, 0, Loss{Cause: QueueFull, Spans: 12},
			Loss{Cause: Unsent, Spans: 100, Reason: "there was no time left"})
	})
}

// While the output is away, waiting for room is in vain.
func TestQueueFullWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(small, refuse)
		s.export(some(small.maxQueue))
		time.Sleep(time.Minute)
		begun := time.Now()
		s.export(some(3))
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("Export waited %v for an output that is away", waited)
		}
		s.check(t, 0, Loss{Cause: QueueFull, Spans: 3, Reason: "nobody there"})
		s.become(accept)
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.check(t, 100, Loss{Cause: QueueFull, Spans: 3, Reason: "nobody there"})
	})
}

// An output that is only slower holds spans back, and loses none as long as
// there is room in time.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(small, func(_ context.Context, n int) outcome {
			time.Sleep(4 * time.Millisecond)
			return outcome{exported: n}
		})
		for range 20 {
			s.export(some(small.maxQueue))
		}
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.check(t, 2000)
	})
}

// Spans of a batch that were not settled are sent again, the others are not.
func TestPartOfBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		s := newSink(small, func(_ context.Context, n int) outcome {
			switch attempts++; attempts {
			case 1:
				return outcome{exported: 2, lost: 1, cause: Rejected, reason: "no", retry: errors.New("later")}
			case 2:
				return outcome{exported: 3}
			}
			return outcome{exported: n}
		})
		s.export(some(10))
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if batches, _, _ := s.seen(); !slices.Equal(batches, []int{10, 7, 4}) {
			t.Errorf("batches %v", batches)
		}
		s.check(t, 9, Loss{Cause: Rejected, Spans: 1, Reason: "no"})
	})
}

func TestShutdownTriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(small, refuse)
		s.export(some(4))
		time.Sleep(time.Hour)
		synctest.Wait()
		s.become(accept)
		begun := time.Now()
		if err := s.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("Shutdown waited %v", waited)
		}
		s.check(t, 4)
	})
}

func TestShutdownBounded(t *testing.T) {
	tests := map[string]struct {
		answer func(context.Context, int) outcome
		reason string
		bound  time.Duration
	}{
		"away":            {refuse, "nobody there", time.Second},
		"interruptible":   {standStill, "there was no time left", time.Second},
		"uninterruptible": {func(context.Context, int) outcome { time.Sleep(time.Hour); return outcome{exported: 10} }, "there was no time left", time.Second + farewell},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSink(small, test.answer)
				s.export(some(42))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begun := time.Now()
				err := s.shutdown(ctx)
				if waited := time.Since(begun); waited > test.bound {
					t.Errorf("Shutdown took %v", waited)
				}
				if want := "send to sink: 42 spans not sent: " + test.reason; fmt.Sprint(err) != want {
					t.Errorf("Shutdown: %v, want %s", err, want)
				}
				if again := s.shutdown(ctx); !errors.Is(again, err) {
					t.Errorf("second Shutdown: %v", again)
				}
				<-s.done
				s.check(t, 0, Loss{Cause: Unsent, Spans: 42, Reason: test.reason})
			})
		})
	}
}

func TestSettings(t *testing.T) {
	var warnings []string
	warn := func(w string) { warnings = append(warnings, w) }

	if got, want := batchingFromEnvironment(warn), (batching{time.Second, 65_536, 2048, 30 * time.Second}); got != want {
		t.Errorf("by default %+v, want %+v", got, want)
	}
	if got, want := limitsFromEnvironment(warn), (limits{128, -1, 128, 128, 128}); got != want {
		t.Errorf("by default %+v, want %+v", got, want)
	}
	for name, value := range map[string]string{
		"OTEL_BSP_SCHEDULE_DELAY":                "0",
		"OTEL_BSP_MAX_QUEUE_SIZE":                "300",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":         "400",
		"OTEL_BSP_EXPORT_TIMEOUT":                "1500",
		"OTEL_ATTRIBUTE_COUNT_LIMIT":             "9",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":        "7",
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT":      "5",
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "",
		"OTEL_SPAN_EVENT_COUNT_LIMIT":            "0",
		"OTEL_SPAN_LINK_COUNT_LIMIT":             "3",
	} {
		t.Setenv(name, value)
	}
	if got, want := batchingFromEnvironment(warn), (batching{0, 300, 300, 1500 * time.Millisecond}); got != want {
		t.Errorf("as set %+v, want %+v", got, want)
	}
	if got, want := limitsFromEnvironment(warn), (limits{7, 5, 0, 3, 9}); got != want {
		t.Errorf("as set %+v, want %+v", got, want)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings %q", warnings)
	}
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0")
	if got := batchingFromEnvironment(warn); got.maxQueue != 65_536 || got.maxBatch != 2048 {
		t.Errorf("with nonsense %+v", got)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[1]+warnings[0], `OTEL_BSP_MAX_QUEUE_SIZE="many"`) {
		t.Errorf("warnings %q, want one for each", warnings)
	}
}
