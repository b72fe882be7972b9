package instrument

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
)

// traced is one process with probes in it.
type traced struct {
	process *target.Process
	image   *image
	since   uint64        // when it was met, on the clock of events; 0: it was there before
	left    chan struct{} // closed when it is none any more, although it lives on
}

// finishing is a process that has ended and whose last events are still in the
// ring: how many bytes have to be read until they are not. Where it had ended before it
// was looked at, traced is nil.
type finishing struct {
	*traced
	pid   int
	bytes int
}

// adopt makes a process a target, or one that has made itself one known, whose load
// bias was told; also where it returns an error, which says what is missing.
func (t *Trace) adopt(p *target.Process, i *image, since uint64, told *uint64) error {
	var bias uint64
	var missing error
	if told != nil {
		bias = *told
	} else {
		bias, missing = p.LoadBias()
	}
	switch {
	case missing == nil:
	case !p.Alive(), errors.Is(missing, target.ErrNoProcess):
		missing = nil // it ends
	default:
		missing = fmt.Errorf("process %d: %w", p.PID(), missing)
	}
	traced := &traced{process: p, image: i, since: since, left: make(chan struct{})}
	t.processes[p.PID()] = traced
	resource, err := p.Resource(t.describe(i))
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist): // it ends, and /proc has less of it
		t.config.Log(fmt.Sprintf("process %d: %v", p.PID(), err))
	default:
		t.config.Say(fmt.Sprintf("process %d: %v", p.PID(), err))
	}
	t.assembler.SetProcess(p.PID(), &span.Process{Resource: resource, Bias: bias, Since: since})
	go func() {
		select {
		case <-p.Done():
		case <-traced.left:
			return
		case <-t.closed:
			return
		}
		select {
		case t.ended <- traced:
			t.session.Wake()
		case <-t.closed:
		}
	}()
	return missing
}

func (t *Trace) describe(i *image) target.Description {
	return target.Description{
		Build:      i.binary.Info,
		Version:    t.config.Version,
		Attributes: t.config.Resource,
	}
}

// meet learns about a process that was not known: a new one of an executable, or
// one that has executed it since. Its id may have been that of another that
// has just ended: what that left open is told in time by the kernel side, which
// tells the two apart, or with the end of this one.
func (t *Trace) meet(record *bpf.Record) {
	pid := int(record.Tgid)
	image := t.imageOf(int(record.Function))
	if known := t.processes[pid]; known != nil {
		if record.Kind != bpf.EventProcess && known.image == image && known.process.Alive() {
			return
		}
		t.leave(known)
	}
	var told *target.Told
	var bias *uint64
	if origin, ok := bpf.ParseOrigin(record); ok && record.Kind == bpf.EventProcess {
		told, bias = toldOf(origin), &origin.Bias
	}
	p, err := target.Open(pid)
	if err == nil && t.isAnother(p, image, told, record) {
		p.Close()
		err = target.ErrNoProcess
	}
	if err != nil {
		if !errors.Is(err, target.ErrNoProcess) {
			t.config.Say(err.Error())
		}
		// It has ended already, or executes something else: what is known of it has to do.
		delete(t.processes, pid)
		resource, missing := target.Ended{PID: pid, ExePath: image.exePath(), Told: told}.Resource(t.describe(image))
		t.config.Log(fmt.Sprintf("process %d: %v", pid, missing))
		process := &span.Process{Resource: resource, Since: record.Start}
		if bias != nil {
			process.Bias = *bias
		}
		t.assembler.SetProcess(pid, process)
		// with this event, which is counted as read when it has been told
		t.finishing = append(t.finishing, finishing{pid: pid, bytes: t.session.RecordBytes() + t.session.Waiting()})
		return
	}
	if told != nil {
		p.Complete(told)
	}
	if err := t.adopt(p, image, record.Start, bias); err != nil {
		t.config.Say(err.Error())
	}
}

// isAnother says whether what has a process's id by now is not what an event is of:
// another process, or another executable.
func (t *Trace) isAnother(p *target.Process, i *image, told *target.Told, record *bpf.Record) bool {
	if told == nil {
		return p.StartedAfter(record.Start)
	}
	return !p.Is(told) || t.runsOther(p, i)
}

func toldOf(o *bpf.Origin) *target.Told {
	host, _, _ := bytes.Cut(o.Host[:], []byte{0})
	return &target.Told{
		InnerPID:    int(o.Pid),
		Namespace:   o.PidNamespace,
		Started:     o.Started,
		Host:        string(host),
		Environment: o.Environment[:o.Good],
		Size:        int(o.Size),
	}
}

// executed takes note of a target that executes something: its calls have been told,
// and if it is traced on, the kernel side says so.
func (t *Trace) executed(record *bpf.Record) {
	pid := int(record.Tgid)
	known := t.processes[pid]
	if known == nil { // it had, before it was looked at
		t.assembler.Forget(pid)
		return
	}
	if !t.config.Follow && !known.image.every {
		t.config.Say(fmt.Sprintf("process %d executes something else, and is not traced any more "+
			"(--follow traces it on where that is %s again)", pid, known.image.path))
	}
	t.leave(known)
	t.assembler.Forget(pid)
	delete(t.processes, pid)
}

// leave lets go of a process that may live on.
func (t *Trace) leave(known *traced) {
	close(known.left)
	if known.process != t.command {
		known.process.Close()
	}
}

// relate tells the kernel side of the processes that targets have started already.
// Those that are started meanwhile by processes that it knows are seen by it, those
// by others are looked for again.
func (t *Trace) relate() error {
	var pids []int
	for pid := range t.processes {
		pids = append(pids, pid)
	}
	known := make(map[target.Descendant]bool)
	for {
		before := len(known)
		descendants, err := target.Descendants(pids)
		if err != nil {
			return err
		}
		for _, d := range descendants {
			if known[d] || t.processes[d.PID] != nil {
				continue
			}
			known[d] = true
			if err := t.session.Relate(d.PID); err != nil {
				return err
			}
			// If it has ended before that, the id may be another's.
			if !d.Alive() {
				if err := t.session.Unrelate(d.PID); err != nil {
					return err
				}
			}
		}
		if len(known) == before {
			return nil
		}
	}
}

// relativesRun says whether a relative of a target runs what is traced. It may be a
// target already, of which no event has been read yet.
func (t *Trace) relativesRun() bool {
	pids, err := t.session.Relatives()
	if err != nil {
		t.config.Log(err.Error())
	}
	for _, pid := range pids {
		p, err := target.Open(pid)
		if err != nil {
			continue
		}
		runs := slices.ContainsFunc(t.images, func(i *image) bool { return t.runs(p, i) })
		if err := p.Close(); err != nil {
			t.config.Log(err.Error())
		}
		if runs {
			return true
		}
	}
	return false
}

// imageOf is the image whose plan has a function of the session.
func (t *Trace) imageOf(function int) *image {
	for _, i := range t.images {
		if function < len(i.plan.Functions) {
			return i
		}
		function -= len(i.plan.Functions)
	}
	return t.images[len(t.images)-1]
}

// notice takes note of processes that have ended.
func (t *Trace) notice() {
	for {
		select {
		case ended := <-t.ended:
			t.finishing = append(t.finishing, finishing{ended, ended.process.PID(), t.session.Waiting()})
		default:
			return
		}
	}
}

// lookAgain is after how many bytes of events it is looked again whether a process that
// had ended has left the tables of the kernel side, or another has its id.
const lookAgain = 64 << 10

// finishProcesses tells what was open in processes that have ended, once their
// last events are read: read is how many bytes that makes, or negative when the
// ring was empty.
func (t *Trace) finishProcesses(read int) error {
	rest := t.finishing[:0]
	var errs []error
	for _, f := range t.finishing {
		if f.bytes -= read; f.bytes > 0 && read >= 0 {
			rest = append(rest, f)
			continue
		}
		// Not where the process is known anew by now, or will be: see meet.
		if t.processes[f.pid] == f.traced {
			forgotten, err := t.session.Forget(f.pid)
			errs = append(errs, err)
			if !forgotten && err == nil {
				f.bytes = lookAgain
				rest = append(rest, f)
				continue
			}
			errs = append(errs, t.endOpen(f.pid, span.ProcessExit))
			t.assembler.Forget(f.pid)
			delete(t.processes, f.pid)
		}
		if f.traced != nil && f.process != t.command {
			f.process.Close()
		}
	}
	t.finishing = rest
	return errors.Join(errs...)
}

// endOpen tells the calls that are still open: of one process, or of all with 0.
func (t *Trace) endOpen(pid int, why span.Incomplete) error {
	records, err := t.session.Open(pid)
	now := span.Monotonic()
	open := make(map[uint64]bool)
	for i := range records {
		open[records[i].Span] = records[i].Kind == bpf.EventCall
	}
	for i := range records {
		if records[i].Kind == bpf.EventLink {
			t.assembler.Link(&records[i])
			continue
		}
		if t.config.Histograms {
			t.leaveOpen(&records[i])
			continue
		}
		s := t.assembler.End(&records[i], now, t.why(&records[i], why))
		if s == nil { // as in tell
			t.meet(&records[i])
			s = t.assembler.End(&records[i], now, t.why(&records[i], why))
		}
		if s == nil {
			t.summary.Unknown++
			t.homeless[records[i].Function]++
			continue
		}
		// How that was is said once where calls are within each other.
		if s.Incomplete == span.ProcessExit && !open[records[i].Parent] {
			s.Exit = t.exit(&records[i])
		}
		t.summary.Open++
		t.emit(s)
	}
	return err
}

// leaveOpen counts, with Config.Histograms, a call that has not ended.
func (t *Trace) leaveOpen(record *bpf.Record) {
	t.summary.Open++
	t.unfinished[record.Function]++
}

// exit is how the process of a call ended, or nil where that is not known.
func (t *Trace) exit(record *bpf.Record) *span.Exit {
	traced := t.processes[int(record.Tgid)]
	if traced == nil || record.Start < traced.since { // its id was another's then
		return nil
	}
	process := traced.process
	if t.command != nil && t.command.PID() == process.PID() && t.command.StartTime() == process.StartTime() {
		process = t.command // how a child of uspan ended is known best
	}
	if status, ok := process.ExitStatus(); ok {
		return &span.Exit{Status: status.Code, Signal: status.SignalName()}
	}
	return nil
}

// why is the reason for the end of an open call.
func (t *Trace) why(record *bpf.Record, why span.Incomplete) span.Incomplete {
	traced := t.processes[int(record.Tgid)]
	if traced == nil || !traced.process.Alive() {
		return span.ProcessExit
	}
	return why
}
