// Package exporter sends spans out of uspan, as OTLP over gRPC or HTTP, or as
// lines of OTLP JSON. It is the end of the flow: it knows spans, and nothing of the
// kernel, executables or targets that they come from.
//
// Everything that takes spans has the method Export, which may be called from
// several goroutines, never waits for long, and says in Stats what became of
// the spans; and Shutdown, which flushes and ends it.
package exporter

import (
	"slices"
	"sync"
)

// A Cause says why spans were lost.
type Cause string

// Causes of loss.
const (
	// QueueFull: more spans came than the output took away, for longer than
	// the queue lasts.
	QueueFull Cause = "queue full"
	// Rejected: the endpoint answered, and did not take them.
	Rejected Cause = "rejected"
	// Unsent: still queued when the time for the last flush was over.
	Unsent Cause = "not sent in time"
	// WriteFailed: the file or stream could not be written.
	WriteFailed Cause = "write failed"
	// Late: handed over after Shutdown.
	Late Cause = "after shutdown"
)

// Stats say what became of the ended spans that an output was given. After
// Shutdown, Exported and LostSpans add up to all of them.
type Stats struct {
	Exported uint64
	// Lost has an entry for each cause that occurred, in the order in which
	// they did.
	Lost []Loss
	// Away is why the endpoint cannot be reached at the moment, empty where it can
	// be, or nothing has been sent yet.
	Away string
}

// A Loss is a number of spans lost for one cause.
type Loss struct {
	Cause Cause
	Spans uint64
	// Reason is the latest error behind it, empty where there is none.
	Reason string
}

// LostSpans is the number of spans lost, for whatever cause.
func (s Stats) LostSpans() uint64 {
	var n uint64
	for _, loss := range s.Lost {
		n += loss.Spans
	}
	return n
}

// A Tally keeps Stats for an output. The zero value is ready, and its methods
// may be called from several goroutines.
type Tally struct {
	mu    sync.Mutex
	stats Stats
}

// Export counts n spans as exported.
func (t *Tally) Export(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Exported += uint64(n)
}

// Lose counts n spans as lost. It reports whether they are the first of that
// cause, which is when a person should hear of it. No spans are no loss.
func (t *Tally) Lose(cause Cause, n int, reason string) (first bool) {
	if n == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.stats.Lost {
		loss := &t.stats.Lost[i]
		if loss.Cause == cause {
			loss.Spans += uint64(n)
			if reason != "" {
				loss.Reason = reason
			}
			return false
		}
	}
	t.stats.Lost = append(t.stats.Lost, Loss{cause, uint64(n), reason})
	return true
}

// Stats are the counts up to now.
func (t *Tally) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{Exported: t.stats.Exported, Lost: slices.Clone(t.stats.Lost)}
}
