package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/uspan/uspan/exporter/term"
)

// A progress says in a terminal what uspan is at, where that takes more than a second:
// in a line that goes away. None at all is one that says nothing.
type progress struct {
	out   io.Writer
	after time.Duration

	mu    sync.Mutex
	step  string
	steps int // so far: what one has shown late is not shown
	begun time.Time
	shown bool
}

// newProgress is one on standard error, nil where that is no terminal.
func newProgress() *progress {
	if term.Detect(os.Stderr).Height == nil {
		return nil
	}
	return &progress{out: os.Stderr, after: time.Second}
}

// Step says what comes now; nothing where all is done.
func (p *progress) Step(step string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.step, p.begun = step, time.Now()
	p.steps++
	if step != "" {
		n := p.steps
		time.AfterFunc(p.after, func() { p.show(n) })
	}
}

// Clear makes room for a message.
func (p *progress) Clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) show(step int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.steps != step || p.step == "" {
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[Kuspan: %s … %d s", p.step, int(time.Since(p.begun).Seconds()))
	p.shown = true
	time.AfterFunc(p.after, func() { p.show(step) })
}

func (p *progress) erase() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}
