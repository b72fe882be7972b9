package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
)

// histograms counts as `uspan hist PID` does.
type histograms struct {
	nothing
	trace *instrument.Trace
	stop  context.CancelFunc
	ended chan error
	total *instrument.Summary // once ended
}

func attachHistograms(t *target) (tracer, error) {
	h := &histograms{ended: make(chan error, 1)}
	ignore := func(string) {}
	var err error
	h.trace, err = instrument.Start(instrument.Config{
		Targets:    []string{strconv.Itoa(t.pid())},
		Rules:      plan.Rules{Patterns: []string{t.function}, Durations: true},
		Histograms: true,
		Log:        ignore,
		Say:        ignore,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	go func() {
		var err error
		h.total, err = h.trace.Run(ctx)
		h.ended <- err
	}()
	return h, nil
}

func (h *histograms) Close() (tally, error) {
	h.stop()
	err := <-h.ended
	counted := tally{known: true, exact: true, lost: h.total.LostSpans()}
	all, readErr := h.trace.Histograms()
	for i := range all {
		counted.seen += all[i].Calls
	}
	return counted, errors.Join(err, readErr, h.trace.Close())
}
