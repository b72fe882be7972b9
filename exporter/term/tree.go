// Package term shows calls to people, in a terminal: spans as a tree that can be
// followed while the calls happen, and how long they took as histograms.
package term

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/uspan/uspan/exporter"
	"github.com/uspan/uspan/instrument/span"
)

const (
	// patience is the longest that one Export waits for the terminal, so that
	// a burst is held back in the kernel's buffer instead of lost.
	patience = 50 * time.Millisecond
	// farewell is how long a write under way is waited for when Shutdown has
	// run out of time.
	farewell = 100 * time.Millisecond
	// linesAtOnce bounds one write.
	linesAtOnce = 128
)

// TooSlow is that the terminal took lines more slowly than the calls came.
const TooSlow exporter.Cause = "terminal too slow"

// Config is what OpenTree and NewHistograms need to know. The zero value is plain text of any
// width.
type Config struct {
	Color bool
	// Width is the number of columns to cut lines to, asked again and again as
	// terminals change their size. No function, or 0, is no limit.
	Width func() int
	// Height is the number of lines of the terminal. No function, or 0: it is none.
	Height func() int
	// Warn, where there is one, is told in one line of the first write that
	// fails. It is called from the tree's own goroutine.
	Warn func(string)
}

// A Tree writes calls as they happen: one line for a call that calls nothing
// traced and ends within 100 ms, else a line where it begins and one where it
// ends. Lines are in the order of their events. It expects a goroutine's
// events in order, the inner call's end before the outer one's, and keeps
// nothing of calls that have ended.
type Tree struct {
	out   io.Writer
	warn  func(string)
	tally exporter.Tally
	page  *page // of the writing goroutine

	closing chan struct{} // closed when Shutdown begins
	done    chan struct{} // closed when the goroutine has ended
	wake    chan struct{} // there is something new to look at
	room    chan struct{} // there is room for lines again

	mu     sync.Mutex
	calls  *calls
	closed bool
	// stalled says that waiting for room was in vain. It is tried again when
	// there has been room.
	stalled bool
	// writing is the number of ended spans in the write under way.
	writing int
	// abandoned says that all that is left is already counted as lost.
	abandoned bool
	err       error
}

// OpenTree starts a tree on out, which stays the caller's to close, behind
// Shutdown.
func OpenTree(out io.Writer, config Config) *Tree {
	t := &Tree{
		out:     out,
		warn:    config.Warn,
		page:    newPage(config),
		calls:   newCalls(),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		room:    make(chan struct{}, 1),
	}
	go t.run()
	return t
}

// Export shows calls that begin (without an End) and spans that end. It waits
// 50 ms at most, and not at all while the terminal stands still; what there is
// no room for then is left out, which the tree says where it happens.
func (t *Tree) Export(spans []*span.Span) {
	var timeout <-chan time.Time
	for len(spans) > 0 {
		if spans = t.add(spans); len(spans) == 0 {
			break
		}
		if timeout == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-t.room:
		case <-t.closing:
		case <-timeout:
			t.mu.Lock()
			t.stalled = true
			t.mu.Unlock()
		}
	}
}

// add takes the spans, up to the first that it makes sense to wait for room
// for, and returns the rest.
func (t *Tree) add(spans []*span.Span) (rest []*span.Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer signal(t.wake)
	now := time.Now()
	for i, s := range spans {
		switch {
		case t.closed:
			if !s.End.IsZero() {
				t.tally.Lose(exporter.Late, 1, "")
			}
		case t.calls.full && !t.stalled:
			return spans[i:]
		case !t.calls.add(s, now) && !s.End.IsZero():
			t.tally.Lose(TooSlow, 1, "")
		}
	}
	return nil
}

// Shutdown shows what is held back, until ctx ends. The error says how many
// spans were left over. It may be called again.
func (t *Tree) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.closing)
	}
	t.mu.Unlock()

	select {
	case <-t.done:
	case <-ctx.Done():
		timer := time.NewTimer(farewell)
		defer timer.Stop()
		select {
		case <-t.done:
		case <-timer.C:
		}
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.writing + ended(t.calls.lines); n > 0 && !t.abandoned {
		t.tally.Lose(exporter.Unsent, n, "the terminal stands still")
		t.err = fmt.Errorf("write call tree: %d spans left: the terminal stands still", n)
	}
	t.abandoned = true
	return t.err
}

// Stats are the counts up to now, of ended spans.
func (t *Tree) Stats() exporter.Stats { return t.tally.Stats() }

// run writes lines until the tree is closed and empty.
func (t *Tree) run() {
	defer close(t.done)
	closing := t.closing
	for {
		lines, wait, finished := t.next()
		if finished {
			return
		}
		if len(lines) > 0 {
			t.write(lines)
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-t.wake:
		case <-due:
		case <-closing:
			closing = nil
		}
	}
}

// next takes the lines that can be written. Where there are none, wait is how
// long it takes until there is one if nothing happens, 0 for ever.
func (t *Tree) next() (lines []*line, wait time.Duration, finished bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.calls.settle()
	}
	wasFull := t.calls.full
	lines, wait = t.calls.take(time.Now(), linesAtOnce)
	if wasFull && !t.calls.full {
		t.stalled = false
		signal(t.room)
	}
	t.writing = ended(lines)
	return lines, wait, t.abandoned || t.closed && len(lines) == 0
}

func (t *Tree) write(lines []*line) {
	var text bytes.Buffer
	t.page.print(&text, lines)
	_, err := t.out.Write(text.Bytes())

	if t.written(err) && t.warn != nil {
		t.warn(fmt.Sprintf("write call tree: %v", err))
	}
}

// written counts what was written, or not. It reports whether a person should
// hear of it.
func (t *Tree) written(err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.writing
	t.writing = 0
	switch {
	case t.abandoned:
		return false
	case err != nil:
		return t.tally.Lose(exporter.WriteFailed, n, err.Error())
	}
	t.tally.Export(n)
	return false
}

// ended is how many of the lines stand for spans that have ended.
func ended(lines []*line) int {
	n := 0
	for _, l := range lines {
		if l.kind == leaf || l.kind == closed {
			n++
		}
	}
	return n
}

// signal tells the other side of a channel of capacity 1, once until it looks.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
