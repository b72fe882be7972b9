package instrument

import (
	"context"
	"errors"
)

// Status is how a Trace is while Run goes on.
type Status struct {
	// Functions and Processes are traced now.
	Functions, Processes int
	// Summary is of all up to now, without the sums of each function.
	Summary Summary
	// Unwatched says which processes run another file by a path than the one that is
	// traced: a new version, for which it takes a new Trace.
	Unwatched []string
}

// Status asks Run how it is. The answer comes from the loop that reads the events:
// where that stands still, or has ended, there is none until ctx is done. It may be
// called from any goroutine.
func (t *Trace) Status(ctx context.Context) (Status, error) {
	answer := make(chan Status, 1)
	select {
	case t.asked <- answer: // taken within the time that Read waits for events
		return <-answer, nil
	case <-t.closed:
		return Status{}, errors.New("the tracing has ended")
	case <-ctx.Done():
		return Status{}, context.Cause(ctx)
	}
}

// answer answers whoever asks for the Status.
func (t *Trace) answer() {
	select {
	case answer := <-t.asked:
		so := t.summary
		var err error
		if so.Lost, err = t.session.Lost(); err != nil {
			t.config.Log(err.Error())
		}
		so.add(t.config.Before)
		t.look()
		answer <- Status{t.functions, len(t.processes), so, t.unwatched()}
	default:
	}
}
