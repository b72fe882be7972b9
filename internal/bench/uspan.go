package main

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
)

// quiet is how long no span comes when none will: events wait in the ring for
// a third of it at most.
const quiet = 300 * time.Millisecond

// uspan traces as `uspan attach PID` does, up to the outputs.
type uspan struct {
	// calls is how many calls a span stands for: 1, or the goroutines that are begun
	// in it.
	calls uint64
	trace *instrument.Trace
	sink  sink
	stop  context.CancelFunc
	ended chan error
	total *instrument.Summary // once ended
}

// A sink is an output that only counts.
type sink struct{ spans atomic.Uint64 }

func (s *sink) Export(spans []*span.Span) { s.spans.Add(uint64(len(spans))) }

func attachUspan(t *target, rules plan.Rules) (tracer, error) {
	rules.Patterns = append([]string{t.function}, rules.Patterns...)
	u := &uspan{calls: 1, ended: make(chan error, 1)}
	ignore := func(string) {}
	var err error
	u.trace, err = instrument.Start(instrument.Config{
		Targets: []string{strconv.Itoa(t.pid())},
		Rules:   rules,
		Outputs: []instrument.Output{&u.sink},
		Log:     ignore,
		Say:     ignore,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	go func() {
		var err error
		u.total, err = u.trace.Run(ctx)
		u.ended <- err
	}()
	return u, nil
}

func (u *uspan) Settle(calls uint64) {
	seen, since := u.sink.spans.Load(), time.Now()
	for seen*u.calls < calls && time.Since(since) < quiet {
		time.Sleep(time.Millisecond)
		if now := u.sink.spans.Load(); now > seen {
			seen, since = now, time.Now()
		}
	}
}

func (u *uspan) Close() (tally, error) {
	u.stop()
	err := errors.Join(<-u.ended, u.trace.Close())
	return tally{known: true, exact: true, seen: u.sink.spans.Load() * u.calls, lost: u.total.LostSpans() * u.calls}, err
}
