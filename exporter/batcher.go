package exporter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/uspan/uspan/instrument/span"
)

const (
	// patience is the longest that one Export waits for room in the queue, so
	// that a burst is held back in the kernel's buffer instead of lost.
	patience = 50 * time.Millisecond
	// firstRetry and lastRetry bound the growing pause between attempts.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
	// farewell is how long an attempt that was interrupted at the end of
	// Shutdown is waited for.
	farewell = 100 * time.Millisecond
)

// An outcome is what came of one attempt to send a batch. The spans are sent
// in order, so it is about the leading ones.
type outcome struct {
	exported int
	// lost spans follow the exported ones and are not tried again.
	lost   int
	cause  Cause
	reason string
	// retry is set when the spans behind those should be tried again, not
	// before pause is over.
	retry error
	pause time.Duration
}

// A batcher keeps spans in a bounded queue and has them sent in batches, from
// one goroutine of its own. A batch leaves the queue only when its outcome is
// known, so an output that is away loses nothing that the queue has room for.
type batcher struct {
	batching
	// name is what messages call the output.
	name  string
	send  func(ctx context.Context, batch []*span.Span) outcome
	warn  func(string)
	tally *Tally

	ctx     context.Context // ends when Shutdown runs out of time
	cancel  context.CancelFunc
	closing chan struct{} // closed when Shutdown begins
	done    chan struct{} // closed when the goroutine has ended
	wake    chan struct{} // there is something in the queue, or a whole batch
	room    chan struct{} // something has left the queue

	mu     sync.Mutex
	queue  []*span.Span
	closed bool
	// stalled says that waiting for room is in vain: the output is away, or a
	// wait was, and the queue has not been half empty since.
	stalled bool
	// away is why the output cannot be reached, empty while it can.
	away string
	// abandoned says that what is in the queue is already counted as lost.
	abandoned bool
	err       error
}

func newBatcher(name string, settings batching, warn func(string), tally *Tally,
	send func(context.Context, []*span.Span) outcome) *batcher {
	ctx, cancel := context.WithCancel(context.Background())
	b := &batcher{
		batching: settings,
		name:     name,
		send:     send,
		warn:     warn,
		tally:    tally,
		ctx:      ctx,
		cancel:   cancel,
		closing:  make(chan struct{}),
		done:     make(chan struct{}),
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
	}
	go b.run()
	return b
}

// export queues the spans that have ended. What the queue has no room for,
// after patience at most, is lost and counted.
func (b *batcher) export(spans []*span.Span) {
	var timeout <-chan time.Time
	for len(spans) > 0 {
		var full bool
		spans, full = b.push(spans)
		if !full {
			return
		}
		if timeout == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-b.room:
		case <-b.closing:
		case <-timeout:
			b.mu.Lock()
			b.stalled = true
			b.mu.Unlock()
		}
	}
}

// push queues as many of the spans as there is room for. The rest is returned
// as long as it makes sense to wait for room, else lost.
func (b *batcher) push(spans []*span.Span) (rest []*span.Span, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.queue)
	for i, s := range spans {
		if s.End.IsZero() {
			continue
		}
		if b.closed || len(b.queue) == b.maxQueue {
			rest = spans[i:]
			break
		}
		b.queue = append(b.queue, s)
	}
	if before == 0 && len(b.queue) > 0 || before < b.maxBatch && len(b.queue) >= b.maxBatch {
		signal(b.wake)
	}
	switch {
	case len(rest) == 0:
		return nil, false
	case b.closed:
		b.tally.Lose(Late, ended(rest), "")
		return nil, false
	case b.stalled:
		if b.tally.Lose(QueueFull, ended(rest), b.away) {
			// Not here: messages may go to a terminal that stands still, and
			// this is the reader of the kernel's events.
			go b.warn(fmt.Sprintf("%s: the queue of %d spans is full: spans are being lost "+
				"(OTEL_BSP_MAX_QUEUE_SIZE makes it larger)", b.name, b.maxQueue))
		}
		return nil, false
	}
	return rest, true
}

// run sends batches until the queue is closed and empty, or time is up.
func (b *batcher) run() {
	defer close(b.done)
	pause, closing, overdue := firstRetry, b.closing, false
	for {
		batch := b.next(overdue)
		if batch == nil {
			return
		}
		o := b.send(b.ctx, batch)
		overdue = o.exported+o.lost < len(batch)
		b.settle(o)
		if o.retry == nil {
			pause = firstRetry
			continue
		}
		jitter := time.Duration(rand.Int64N(int64(pause / 4)))
		timer := time.NewTimer(max(pause+jitter, o.pause))
		select {
		case <-timer.C:
			pause = min(pause*2, lastRetry)
		case <-closing:
			// One more attempt at once, and then hurry.
			closing, pause = nil, firstRetry
		case <-b.ctx.Done():
		}
		timer.Stop()
	}
}

// next waits for a whole batch, for the delay to be over or for Shutdown, and
// returns what is to be sent then; nil when there is nothing more to do. What is
// overdue, as it was part of a batch before, waits for nothing.
func (b *batcher) next(overdue bool) []*span.Span {
	var due <-chan time.Time
	for {
		b.mu.Lock()
		n := len(b.queue)
		ready := n >= b.maxBatch || n > 0 && (b.closed || overdue)
		if b.ctx.Err() != nil || n == 0 && b.closed {
			b.mu.Unlock()
			return nil
		}
		if ready {
			// Only settle moves the front of the queue, in this goroutine.
			batch := b.queue[:min(n, b.maxBatch):min(n, b.maxBatch)]
			b.mu.Unlock()
			return batch
		}
		b.mu.Unlock()
		if n > 0 && due == nil {
			timer := time.NewTimer(b.delay)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-b.wake:
		case <-due:
			overdue = true
		case <-b.closing:
		case <-b.ctx.Done():
		}
	}
}

// settle takes from the queue what needs no further attempt, counts it, and
// says once when the output goes away and once when it is back.
func (b *batcher) settle(o outcome) {
	for _, message := range b.account(o) {
		b.warn(message)
	}
}

// account is settle without the saying, which may wait for a terminal.
func (b *batcher) account(o outcome) (messages []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.abandoned {
		return nil
	}
	settled := o.exported + o.lost
	clear(b.queue[:settled])
	if b.queue = b.queue[settled:]; len(b.queue) == 0 {
		b.queue = nil
	}
	b.tally.Export(o.exported)
	if b.tally.Lose(o.cause, o.lost, o.reason) {
		messages = append(messages, fmt.Sprintf("%s: %s lost (%s): %s; more will only be counted",
			b.name, number(o.lost), o.cause, o.reason))
	}
	if settled > 0 {
		b.stalled = b.stalled && len(b.queue) > b.maxQueue/2
		signal(b.room)
	}
	switch {
	case o.retry == nil && b.away != "":
		b.away = ""
		messages = append(messages, b.name+" is back")
	case o.retry != nil && b.ctx.Err() == nil:
		b.stalled = true
		if b.away == "" {
			messages = append(messages, fmt.Sprintf("%s is away: %v; up to %d spans are kept and sent when it is back",
				b.name, o.retry, b.maxQueue))
		}
		b.away = o.retry.Error()
	}
	return messages
}

// why is why the output cannot be reached, empty while it can.
func (b *batcher) why() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away
}

// shutdown sends what is queued, until ctx ends, and counts the rest as lost.
// A second call returns what the first one did.
func (b *batcher) shutdown(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.closing)
	}
	b.mu.Unlock()

	select {
	case <-b.done:
	case <-ctx.Done():
		b.cancel()
		timer := time.NewTimer(farewell)
		defer timer.Stop()
		select {
		case <-b.done:
		case <-timer.C:
		}
	}
	b.cancel()

	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.queue); n > 0 && !b.abandoned {
		b.abandoned = true
		reason := b.away
		if reason == "" {
			reason = "there was no time left"
		}
		b.tally.Lose(Unsent, n, reason)
		b.err = fmt.Errorf("send to %s: %s not sent: %s", b.name, number(n), reason)
	}
	return b.err
}

// ended is how many of the spans have ended.
func ended(spans []*span.Span) int {
	n := 0
	for _, s := range spans {
		if !s.End.IsZero() {
			n++
		}
	}
	return n
}

// number is n spans in words.
func number(n int) string {
	if n == 1 {
		return "1 span"
	}
	return fmt.Sprintf("%d spans", n)
}

// signal tells the other side of a channel of capacity 1, once until it looks.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
