package term

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspan/uspan/instrument/span"
)

// A program makes the events of calls, at the time that the test's bubble has.
type program struct {
	t        *testing.T
	tree     interface{ Export([]*span.Span) }
	resource *span.Resource
	levels   map[uint64]int
	ids      *uint64
}

// open is an open call of a program.
type open struct {
	program *program
	begin   span.Span
}

func newProgram(t *testing.T, tree interface{ Export([]*span.Span) }) *program {
	return &program{
		t: t, tree: tree,
		resource: &span.Resource{PID: 4242, Executable: "app"},
		levels:   make(map[uint64]int),
		ids:      new(uint64),
	}
}

// another is a second process on the same tree.
func (p *program) another(pid int, executable string) *program {
	other := *p
	other.resource = &span.Resource{PID: pid, Executable: executable}
	other.levels = make(map[uint64]int)
	return &other
}

// call is a call that has begun, of which nothing was seen.
func (p *program) call(goroutine uint64, name string, args ...span.Value) *open {
	*p.ids++
	c := &open{p, span.Span{
		Resource:  p.resource,
		Function:  &span.Function{Name: name},
		Start:     time.Now(),
		Goroutine: goroutine,
		Level:     p.levels[goroutine],
		Values:    true,
		Args:      args,
	}}
	binary.BigEndian.PutUint64(c.begin.ID[:], *p.ids)
	p.levels[goroutine]++
	return c
}

// begin is a call that is seen to begin.
func (p *program) begin(goroutine uint64, name string, args ...span.Value) *open {
	c := p.call(goroutine, name, args...)
	begin := c.begin
	p.tree.Export([]*span.Span{&begin})
	return c
}

// linked is a call that begins a trace, with a link to the call that it comes from.
func (p *program) linked(from *open, goroutine uint64, name string, args ...span.Value) *open {
	c := p.call(goroutine, name, args...)
	binary.BigEndian.PutUint32(c.begin.TraceID[:], 0xabcd0000+uint32(*p.ids))
	c.begin.Link = &span.Link{TraceID: from.begin.TraceID, ID: from.begin.ID}
	begin := c.begin
	p.tree.Export([]*span.Span{&begin})
	return c
}

// leaf is a whole call.
func (p *program) leaf(goroutine uint64, name string, d time.Duration, values ...span.Value) {
	c := p.begin(goroutine, name, values...)
	time.Sleep(d)
	c.end()
}

// end ends the call; a last result that is an error is the call's.
func (c *open) end(results ...span.Value) {
	s := c.ended()
	s.Results = results
	if n := len(results); n > 0 {
		s.Error, _ = results[n-1].Value.(*span.Error)
	}
	c.program.tree.Export([]*span.Span{s})
}

func (c *open) incomplete(why span.Incomplete) {
	s := c.ended()
	s.Incomplete = why
	c.program.tree.Export([]*span.Span{s})
}

// vanish ends the call without anybody seeing it.
func (c *open) vanish() { c.ended() }

func (c *open) ended() *span.Span {
	s := c.begin
	s.End = time.Now()
	c.program.levels[s.Goroutine]--
	return &s
}

func value(name string, v any) span.Value { return span.Value{Name: name, Value: v} }

func noted(name string, v any, note string) span.Value {
	return span.Value{Name: name, Value: v, Note: note}
}

// draw is what a tree shows of what a program does.
func draw(t *testing.T, config Config, run func(p *program)) string {
	t.Helper()
	var out screen
	synctest.Test(t, func(t *testing.T) {
		tree := OpenTree(&out, config)
		run(newProgram(t, tree))
		if err := tree.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return out.String()
}

// A screen is a writer that can be looked at meanwhile.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
