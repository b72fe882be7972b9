package instrument_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
)

// Every call of every function is a span or lost, with the cause: where the ring
// is too small, where there is no room for open calls, where nobody takes the spans.
func TestSums(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	rules := plan.Rules{Patterns: counted, Values: true}
	for name, test := range map[string]struct {
		config instrument.Config
		output instrument.Output
		lost   func(*instrument.Summary) uint64
	}{
		"enough of everything": {config: instrument.Config{Rules: rules}},
		"the ring is small": {
			config: instrument.Config{Rules: rules, Live: true}.WithRing(64 << 10),
			output: slow{},
			lost:   func(s *instrument.Summary) uint64 { return s.Lost.RingFull },
		},
		"few open calls": {
			config: instrument.Config{Rules: rules, OpenCalls: instrument.MinOpenCalls},
			lost:   func(s *instrument.Summary) uint64 { return s.Lost.FramesFull + s.Lost.GoroutinesFull },
		},
	} {
		t.Run(name, func(t *testing.T) {
			var spans collector
			config := test.config
			spans.also = test.output
			got, summary, printed := traceTo(t, config, &spans, target.Command{Path: exe, Args: []string{"-goroutines=5000"}})
			var truth map[string]int64
			if err := json.Unmarshal(printed, &truth); err != nil {
				t.Fatal(err)
			}
			byName := make(map[string]uint64)
			for _, s := range got {
				if !s.End.IsZero() {
					byName[s.Function.FullName]++
				}
			}
			lost := uint64(0)
			for _, function := range counted {
				sum := summary.Calls[function]
				if sum.Spans != byName[function] || sum.Spans+sum.Lost != uint64(truth[function]) {
					t.Errorf("%s: %d spans, said to be %d, and %d lost, of %d calls", function, byName[function], sum.Spans, sum.Lost, truth[function])
				}
				lost += sum.Lost
			}
			if lost != summary.LostSpans() {
				t.Errorf("%d are lost of all functions, %d by cause: %+v", lost, summary.LostSpans(), summary.Lost)
			}
			if test.lost == nil && lost > 0 || test.lost != nil && test.lost(summary) == 0 {
				t.Errorf("lost: %+v", summary.Lost)
			}
		})
	}
}

// slow is an output that takes its time.
type slow struct{}

func (slow) Export([]*span.Span) { time.Sleep(20 * time.Millisecond) }
