package instrument

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
)

// A Trace is targets with probes in them, from Start on.
type Trace struct {
	config  Config
	images  []*image
	places  []*place
	plans   []*plan.Plan
	files   files
	session *attach.Session
	command *target.Process
	// mapMemory bounds the memory of the BPF maps, in bytes.
	mapMemory uint64

	assembler  *span.Assembler
	processes  map[int]*traced
	ended      chan *traced
	asked      chan chan<- Status
	closed     chan struct{}
	functions  int      // that are traced
	ready      []string // lines to say when all are
	batch      []*span.Span
	finishing  []finishing
	summary    Summary
	spans      map[*span.Function]uint64
	homeless   map[uint32]uint64 // calls by function
	unfinished map[uint32]uint64 // with Config.Histograms: calls that had not ended
	looked     time.Time         // when Config.Look was called

	lookedAround      time.Time // when it was looked whether anything has changed at the places
	executions, exits uint64    // of processes, then
	looks             int       // still to be taken at the places
	told              int       // events since the ring was empty
	superseded        error     // a NewFileError: why the trace ends although its time is not over
}

// batchSpans is how many spans are handed to the outputs at once.
const batchSpans = 512

// Command is the process that was started, or nil.
func (t *Trace) Command() *target.Process { return t.command }

// MapMemory is how many bytes the BPF maps take at most, of uspan's own cgroup.
func (t *Trace) MapMemory() uint64 { return t.mapMemory }

// FromKernel counts how often the kernel itself (a terminal) sent a signal to uspan.
func (t *Trace) FromKernel(signal unix.Signal) int { return t.session.KernelSignals(signal) }

// Run lets the command run and makes spans until the targets have ended, the
// time is over, or ctx is done; or until nothing is left at a path but a new file,
// which is a NewFileError. Then the probes are gone, and what was open has been told.
func (t *Trace) Run(ctx context.Context) (*Summary, error) {
	defer func() { t.summary.add(t.config.Before) }()
	for _, line := range t.ready {
		t.config.Say(line)
	}
	t.ready = nil
	if t.command != nil {
		// One that was killed while it was stopped ends as any other does.
		if err := t.command.Resume(); err != nil && !errors.Is(err, target.ErrNoProcess) {
			return &t.summary, errors.Join(err, t.command.Kill())
		}
	}
	if t.config.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.config.For)
		defer cancel()
	}
	t.looked = time.Now()
	stop := context.AfterFunc(ctx, func() { t.session.Wake() })
	defer stop()
	for ctx.Err() == nil && t.superseded == nil && !t.over() {
		if err := t.read(); err != nil {
			return &t.summary, err
		}
		t.notice()
		t.answer()
		if t.config.Every > 0 && time.Since(t.looked) >= t.config.Every {
			t.looked = time.Now()
			t.config.Look()
		}
	}
	if err := t.finish(); err != nil {
		return &t.summary, err
	}
	if errors.Is(t.superseded, errWritten) {
		return &t.summary, nil
	}
	return &t.summary, t.superseded
}

// over says that all targets have ended and no new ones can come.
func (t *Trace) over() bool {
	if len(t.processes) > 0 {
		return false
	}
	for _, i := range t.images {
		if i.every {
			return false
		}
	}
	return !t.config.Follow || !t.relativesRun()
}

// read handles the next event, or what there is to do when there is none.
func (t *Trace) read() error {
	record, err := t.session.Read()
	switch {
	case errors.Is(err, attach.ErrIdle):
		t.flush()
		t.lookAround()
		t.told = 0
		return t.finishProcesses(-1)
	case err != nil:
		return fmt.Errorf("read events: %w", err)
	}
	t.tell(&record)
	if t.told++; t.told%batchSpans == 0 {
		t.lookAround()
	}
	return t.finishProcesses(t.session.RecordBytes())
}

// tell handles an event.
func (t *Trace) tell(record *bpf.Record) {
	switch record.Kind {
	case bpf.EventProcess:
		t.meet(record)
	case bpf.EventExec:
		t.executed(record)
	case bpf.EventPanic:
		t.assembler.Panic(record)
	case bpf.EventLink:
		t.assembler.Link(record)
	default:
		if t.config.Histograms { // it was open when its process executed something
			t.leaveOpen(record)
			return
		}
		s := t.assembler.Span(record)
		if s == nil { // the event that tells of the process is lost
			t.meet(record)
			s = t.assembler.Span(record)
		}
		switch {
		case s != nil:
			if record.Reason == bpf.EndExec {
				t.summary.Open++
			}
			t.emit(s)
		case record.Kind == bpf.EventCall:
			t.summary.Unknown++
			t.homeless[record.Function]++
		}
	}
}

// readStack finds a stack by its number.
func (t *Trace) readStack(number uint64) (bpf.Stack, bool) {
	stack, ok, err := t.session.Stack(number)
	if err != nil {
		t.config.Log(err.Error())
	}
	return stack, ok
}

// emit hands a span on.
func (t *Trace) emit(s *span.Span) {
	if !s.End.IsZero() {
		t.summary.Spans++
		t.spans[s.Function]++
	}
	t.batch = append(t.batch, s)
	if len(t.batch) >= batchSpans {
		t.flush()
	}
}

func (t *Trace) flush() {
	if len(t.batch) == 0 {
		return
	}
	for _, output := range t.config.Outputs {
		output.Export(t.batch)
	}
	t.batch = nil // outputs may keep it
}

// finish detaches and tells what is left.
func (t *Trace) finish() error {
	t.config.progress("removing the probes")
	err := t.session.Detach()
	for _, i := range t.images {
		err = errors.Join(err, i.lease.release())
	}
	// An exec would tell calls that are told below.
	err = errors.Join(err, t.session.Unwatch())
	t.config.progress("")
	// Everything that is in the ring now is all that will ever be there.
	t.session.Wake()
	for {
		record, readErr := t.session.Read()
		if errors.Is(readErr, attach.ErrIdle) {
			break
		}
		if readErr != nil {
			return errors.Join(err, readErr)
		}
		t.tell(&record)
	}
	t.notice()
	err = errors.Join(err, t.finishProcesses(-1), t.endOpen(0, span.Detached))
	t.flush()
	lost, lostErr := t.session.Lost()
	t.summary.Lost = lost
	return errors.Join(err, lostErr, t.sum())
}

// Close frees everything; nothing stays attached. A command runs on. Close is
// idempotent.
func (t *Trace) Close() error {
	select {
	case <-t.closed:
		return nil
	default:
		close(t.closed)
	}
	var errs []error
	if t.session != nil {
		errs = append(errs, t.session.Close())
	}
	for _, traced := range t.processes {
		if traced.process != t.command {
			errs = append(errs, traced.process.Close())
		}
	}
	for _, i := range t.images {
		errs = append(errs, i.close())
	}
	t.files.close()
	return errors.Join(errs...)
}
