package term

import (
	"time"

	"github.com/uspan/uspan/instrument/span"
)

const (
	// hold is how long a call that has begun waits for its end, to become one
	// line.
	hold = 100 * time.Millisecond
	// maxLines bounds what waits to be written. Half of it is free again
	// before more is taken, so that what is left out is left out in one piece.
	maxLines = 8192
	// maxOpen bounds the open calls that are known. The end of one beyond it
	// is one line.
	maxOpen = 1 << 16
)

type kind int

const (
	// pending is a call that has begun, while it is open which of the next
	// three it becomes. The first two kinds have the span as it began.
	pending kind = iota
	opened
	// leaf is a whole call in one line.
	leaf
	// closed is the end of a call whose beginning is above.
	closed
	// endless is the place where a call must have ended without being seen:
	// unseen where the beginning is above, else one line with it.
	endless
	endlessLeaf
	// gap is the place where lines were left out.
	gap
)

// A line is one line to be written. It does not change once it is not pending.
type line struct {
	kind    kind
	span    *span.Span
	arrived time.Time
	// missing is the number of lines left out at a gap.
	missing int
}

// A flow is what calls nest in: a goroutine, or a thread's own stack.
type flow struct {
	process   *span.Resource
	goroutine uint64
	thread    uint32
}

func flowOf(s *span.Span) flow {
	if s.Goroutine != 0 {
		return flow{process: s.Resource, goroutine: s.Goroutine}
	}
	return flow{process: s.Resource, thread: s.Thread}
}

// A call is an open one.
type call struct {
	begin *span.Span
	line  *line
}

// calls turns events into lines: it knows the open calls of each goroutine, and
// holds lines back in the order of events while it is open what the first of
// them says.
type calls struct {
	lines []*line
	open  map[flow][]call
	count int // of calls in open
	// full says that lines are left out, missing how many since it is so.
	full    bool
	missing int
}

func newCalls() *calls {
	return &calls{open: make(map[flow][]call)}
}

// add takes an event. It reports whether its line is kept: all lines of one
// event are kept, or none.
func (c *calls) add(s *span.Span, now time.Time) (kept bool) {
	if s.End.IsZero() {
		kept = c.begin(s, now)
	} else {
		kept = c.end(s, now)
	}
	c.full = c.full || len(c.lines) >= maxLines
	return kept
}

func (c *calls) begin(s *span.Span, now time.Time) bool {
	f := flowOf(s)
	stack := c.open[f]
	for n := len(stack); n > 0 && stack[n-1].begin.Level >= s.Level; n-- {
		stack = c.unseen(stack, now)
	}
	c.decide(stack)
	l := &line{kind: pending, span: s, arrived: now}
	kept := c.count < maxOpen && c.append(l)
	if kept {
		stack = append(stack, call{s, l})
		c.count++
	}
	c.keep(f, stack)
	return kept
}

func (c *calls) end(s *span.Span, now time.Time) bool {
	f := flowOf(s)
	stack := c.open[f]
	i := len(stack) - 1
	for i >= 0 && stack[i].begin.ID != s.ID {
		i--
	}
	if i < 0 {
		c.decide(stack)
		return c.append(&line{kind: leaf, span: s, arrived: now})
	}
	for len(stack) > i+1 {
		stack = c.unseen(stack, now)
	}
	begin := stack[i].line
	stack[i] = call{}
	c.keep(f, stack[:i])
	c.count--
	if begin.kind == pending {
		begin.kind, begin.span = leaf, s
		return true
	}
	return c.append(&line{kind: closed, span: s, arrived: now})
}

// decide makes the innermost call one with a beginning and an end, as
// something happens within it.
func (c *calls) decide(stack []call) {
	if n := len(stack); n > 0 && stack[n-1].line.kind == pending {
		stack[n-1].line.kind = opened
	}
}

// unseen takes the innermost call off the stack: it must have ended.
func (c *calls) unseen(stack []call, now time.Time) []call {
	n := len(stack) - 1
	if top := stack[n]; top.line.kind == pending {
		top.line.kind = endlessLeaf
	} else {
		c.append(&line{kind: endless, span: top.begin, arrived: now})
	}
	stack[n] = call{}
	c.count--
	return stack[:n]
}

// keep remembers the open calls of a goroutine, and nothing where there are none.
func (c *calls) keep(f flow, stack []call) {
	if len(stack) == 0 {
		delete(c.open, f)
		return
	}
	c.open[f] = stack
}

// append adds a line at the end, behind the gap where lines were left out, or
// leaves it out, too.
func (c *calls) append(l *line) bool {
	if c.full {
		c.missing++
		return false
	}
	if c.missing > 0 {
		c.lines = append(c.lines, &line{kind: gap, arrived: l.arrived, missing: c.missing})
		c.missing = 0
	}
	c.lines = append(c.lines, l)
	return true
}

// take removes up to most lines from the front, up to the first that is
// pending and younger than hold; wait is how long it will be so. It is 0 where
// there are no more lines.
func (c *calls) take(now time.Time, most int) (lines []*line, wait time.Duration) {
	n := 0
	for ; n < len(c.lines) && n < most; n++ {
		first := c.lines[n]
		if first.kind != pending {
			continue
		}
		wait = first.arrived.Add(hold).Sub(now)
		if wait > 0 && len(c.lines)-n <= maxLines/2 {
			break
		}
		first.kind, wait = opened, 0
	}
	lines = append(lines, c.lines[:n]...)
	clear(c.lines[:n])
	if c.lines = c.lines[n:]; len(c.lines) == 0 {
		c.lines = nil
	}
	if len(c.lines) <= maxLines/2 {
		c.full = false
	}
	return lines, wait
}

// settle ends the waiting: calls that are pending have no end, and what was
// left out is said.
func (c *calls) settle() {
	for _, l := range c.lines {
		if l.kind == pending {
			l.kind = opened
		}
	}
	if c.missing > 0 {
		c.lines = append(c.lines, &line{kind: gap, missing: c.missing})
		c.missing = 0
	}
}
