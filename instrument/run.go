package instrument

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	plans   []*plan.Plan
	files   files
	session *attach.Session
	command *target.Process
	// mapMemory bounds the memory of the BPF maps, in bytes.
	mapMemory uint64

	assembler *span.Assembler
	processes map[int]*traced
	ended     chan *traced
	closed    chan struct{}
	batch     []*span.Span
	finishing []finishing
	summary   Summary
	spans     map[*span.Function]uint64
	homeless  map[uint32]uint64 // calls by function
}

// Summary is what came of a Trace.
type Summary struct {
	// Spans were handed to the outputs. Open are those of them whose call had
	// not ended.
	Spans, Open uint64
	// Lost is what the kernel side could not tell, by cause.
	Lost bpf.Counters
	// Calls are the sums of each function, by its full name, of which a call was
	// seen. Where several executables have a function of that name, of all of them.
	Calls map[string]Sum
	// Unknown are calls of processes that uspan did not know any more.
	Unknown uint64
}

// A Sum says what became of the calls of a function that were seen: each gave one
// span, or is lost.
type Sum struct{ Spans, Lost uint64 }

// LostSpans is the number of calls that gave no span.
func (s *Summary) LostSpans() uint64 {
	return s.Lost.RingFull + s.Lost.FramesFull + s.Lost.GoroutinesFull + s.Lost.NoGoroutine + s.Unknown
}

// traced is one process with probes in it.
type traced struct {
	process *target.Process
	image   *image
}

// finishing is a process that has ended and whose last events are still in the
// ring: how many bytes have to be read until they are not.
type finishing struct {
	*traced
	bytes int
}

// batchSpans is how many spans are handed to the outputs at once.
const batchSpans = 512

// Start plans, starts the command or finds the targets, and attaches. When it
// returns, calls are being recorded: Run has to follow, and lets the command
// run. A command that could not be traced is not run.
func Start(config Config) (*Trace, error) {
	t := &Trace{
		config:    config,
		processes: make(map[int]*traced),
		ended:     make(chan *traced, 16),
		closed:    make(chan struct{}),
		spans:     make(map[*span.Function]uint64),
		homeless:  make(map[uint32]uint64),
	}
	if err := t.start(); err != nil {
		if t.command != nil {
			err = errors.Join(err, t.command.Kill())
		}
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Trace) start() error {
	if err := target.CheckProc(); err != nil {
		return err
	}
	budget := newBudget()
	defer t.files.close()
	if err := t.open(); err != nil {
		return err
	}
	for n, i := range t.images {
		if err := attach.Fits(i.plan); err != nil {
			return err
		}
		i.plan.ReadDynamics()
		i.index = n
		t.plans = append(t.plans, i.plan)
		i.binary.Release()
		if i.every {
			t.find(i)
		}
		if err := t.checkMemory(i); err != nil {
			return err
		}
	}
	options := t.config.options()
	if err := budget.fit(t.plans, &options, t.config.Say); err != nil {
		return err
	}
	var err error
	if t.session, err = attach.NewSession(t.plans, options); err != nil {
		return err
	}
	memory, err := attach.MemoryOf(t.plans, options)
	if err != nil {
		return err
	}
	t.mapMemory = memory.Most()
	t.assembler = span.NewAssembler(t.plans)
	for _, i := range t.images {
		for _, p := range i.processes {
			if err := t.adopt(p, i, 0); err != nil {
				return err
			}
			if err := t.session.Watch(i.index, p.PID()); err != nil {
				return err
			}
		}
		skipped, err := t.session.Attach(i.index, i.file, i.pids())
		if err != nil {
			return err
		}
		t.config.Say(t.ready(i, len(i.plan.Functions)-len(skipped)))
		t.sayLeft(i.index, skipped)
		i.plan.Skipped = nil // told; it can be longer than the plan
	}
	if removal := t.session.Removal(); removal >= 2*time.Second {
		t.config.Say(fmt.Sprintf("this kernel has no uprobe_multi links (Linux 6.6 has): to remove the probes will take some %d s",
			int(removal.Seconds())))
	}
	if t.command != nil {
		if err := t.session.WatchSignals(); err != nil {
			t.config.Say(err.Error() + "; Ctrl-C may reach the command twice")
		}
	}
	return nil
}

// open fills in images.
func (t *Trace) open() (err error) {
	if t.config.Command == nil {
		t.images, err = openTargets(t.config.Targets, t.config.Rules, &t.files)
		return err
	}
	if t.command, err = target.Start(*t.config.Command); err != nil {
		return err
	}
	file, err := t.command.OpenExe()
	if err != nil {
		return err
	}
	i, err := openImage(file, t.config.Command.Path, t.config.Rules)
	if err != nil {
		return err
	}
	i.processes = append(i.processes, t.command)
	t.images = append(t.images, i)
	return checkPatterns(t.images)
}

// find adds the processes that run an executable already.
func (t *Trace) find(i *image) {
	found, err := target.Find(i.inode, i.size())
	if err != nil {
		t.config.Say(err.Error())
	}
	if found.Hidden > 0 {
		t.config.Say(hiddenProcesses(found.Hidden))
	}
	for _, pid := range slices.Concat(found.Same, found.Alike) {
		if i.has(pid) {
			continue
		}
		// One that has ended meanwhile, or runs something else, is none of them.
		p, err := target.Open(pid)
		if err != nil {
			continue
		}
		if t.runs(p, i) {
			i.processes = append(i.processes, p)
		} else if err := p.Close(); err != nil {
			t.config.Log(err.Error())
		}
	}
	if len(i.processes) == 0 {
		t.sayElsewhere(i.path)
	}
}

func hiddenProcesses(n int) string {
	return count(n, "process") + " of other users could not be looked at (CAP_SYS_PTRACE allows it)"
}

// runs says whether a process runs the executable, by whatever name.
func (t *Trace) runs(p *target.Process, i *image) bool {
	if p.Inode() == i.inode {
		return true
	}
	file, err := p.OpenExe()
	if err != nil {
		return false
	}
	defer file.Close()
	same, err := t.files.same(i.file, file)
	if err != nil {
		t.config.Log(err.Error())
	}
	return same
}

// sayElsewhere tells of processes that run another file by the path of one that
// nobody runs: they are in a container, and perhaps were meant.
func (t *Trace) sayElsewhere(path string) {
	if pids, _, err := target.FindByPath(path); err == nil && len(pids) > 0 {
		t.config.Say(fmt.Sprintf("no process runs %s, but %s %s another file by that path, in another mount namespace: "+
			"to trace it name /proc/%d/exe", path, processes(pids), runOrRuns(pids), pids[0]))
	}
}

func (t *Trace) ready(i *image, functions int) string {
	var where []string
	for _, p := range i.processes {
		where = append(where, strconv.Itoa(p.PID()))
	}
	switch {
	case i.every:
		return fmt.Sprintf("tracing %s of %s (every process, %d running)", count(functions, "function"), i.path, len(where))
	case len(where) == 1:
		return fmt.Sprintf("tracing %s of %s (pid %s)", count(functions, "function"), i.path, where[0])
	}
	return fmt.Sprintf("tracing %s of %s (pids %s)", count(functions, "function"), i.path, strings.Join(where, ", "))
}

// sayLeft tells what of an executable is not traced: how much, and in detail
// which function why.
func (t *Trace) sayLeft(n int, refused []plan.Skipped) {
	i := t.images[n]
	for _, s := range slices.Concat(i.plan.Skipped, refused) {
		t.config.Log(fmt.Sprintf("not traced: %s: %s", s.Name, s.Reason))
	}
	for _, none := range i.missed {
		t.config.Log(fmt.Sprintf("%s: %v", i.path, none))
	}
	var left []string
	if n := len(i.plan.Skipped) + len(refused); n > 0 {
		left = append(left, count(n, "function")+" cannot be traced")
	}
	if n := i.plan.LeftOut(); n > 0 {
		left = append(left, count(n, "function")+" left out")
	}
	if len(left) > 0 {
		t.config.Say(strings.Join(left, ", ") + " (--dry-run tells which, and why)")
	}
	if why := t.session.Unwatched(n); why != "" {
		t.config.Say("panics are seen late, and without their values: " + why)
	}
	if why := t.session.Rootless(n); why != "" {
		t.config.Say("goroutines begin traces: " + why)
	}
	if i.plan.Unvalued != "" {
		t.config.Say("no arguments and results: " + i.plan.Unvalued)
	}
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// adopt makes a process a target, or one that has made itself one known; also
// where it returns an error, which says what is missing.
func (t *Trace) adopt(p *target.Process, i *image, since uint64) error {
	bias, missing := p.LoadBias()
	switch {
	case missing == nil:
	case !p.Alive(), errors.Is(missing, target.ErrNoProcess):
		missing = nil // it ends
	default:
		missing = fmt.Errorf("process %d: %w", p.PID(), missing)
	}
	traced := &traced{process: p, image: i}
	t.processes[p.PID()] = traced
	resource, err := p.Resource(t.describe(i))
	if err != nil {
		t.config.Say(fmt.Sprintf("process %d: %v", p.PID(), err))
	}
	t.assembler.SetProcess(p.PID(), &span.Process{Resource: resource, Bias: bias, Since: since})
	go func() {
		select {
		case <-p.Done():
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

// Command is the process that was started, or nil.
func (t *Trace) Command() *target.Process { return t.command }

// MapMemory is how many bytes the BPF maps take at most, of uspan's own cgroup.
func (t *Trace) MapMemory() uint64 { return t.mapMemory }

// FromKernel counts how often the kernel itself (a terminal) sent a signal to uspan.
func (t *Trace) FromKernel(signal unix.Signal) int { return t.session.KernelSignals(signal) }

// Run lets the command run and makes spans until the targets have ended, the
// time is over, or ctx is done. Then the probes are gone, and what was open has
// been told.
func (t *Trace) Run(ctx context.Context) (*Summary, error) {
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
	stop := context.AfterFunc(ctx, func() { t.session.Wake() })
	defer stop()
	for ctx.Err() == nil && !t.over() {
		if err := t.read(); err != nil {
			return &t.summary, err
		}
		t.notice()
	}
	return &t.summary, t.finish()
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
	return true
}

// read handles the next event, or what there is to do when there is none.
func (t *Trace) read() error {
	record, err := t.session.Read()
	switch {
	case errors.Is(err, attach.ErrIdle):
		t.flush()
		t.warnOfNewFiles()
		return t.finishProcesses(-1)
	case err != nil:
		return fmt.Errorf("read events: %w", err)
	}
	t.tell(&record)
	return t.finishProcesses(t.session.RecordBytes())
}

// tell handles an event.
func (t *Trace) tell(record *bpf.Record) {
	switch record.Kind {
	case bpf.EventProcess:
		t.meet(record)
	case bpf.EventPanic:
		t.assembler.Panic(record)
	case bpf.EventLink:
		t.assembler.Link(record)
	default:
		s := t.assembler.Span(record)
		if s == nil { // the event that tells of the process is lost
			t.meet(record)
			s = t.assembler.Span(record)
		}
		switch {
		case s != nil:
			t.emit(s)
		case record.Kind == bpf.EventCall:
			t.summary.Unknown++
			t.homeless[record.Function]++
		}
	}
}

// warnOfNewFiles tells of a new file where an executable was: it is not traced.
func (t *Trace) warnOfNewFiles() {
	for _, i := range t.images {
		if i.every && i.newFile() {
			t.config.Say(fmt.Sprintf("%s is a new file: its processes are not traced, only those of the file that it was", i.path))
		}
	}
}

// meet learns about a process that was not known: a new one of an executable, or
// one that has executed another since. Its id may have been that of another that
// has just ended: what that left open is told in time by the kernel side, which
// tells the two apart, or with the end of this one.
func (t *Trace) meet(record *bpf.Record) {
	pid := int(record.Tgid)
	image := t.imageOf(int(record.Function))
	if known := t.processes[pid]; known != nil {
		if known.image == image && known.process.Alive() {
			return
		}
		if known.process != t.command {
			known.process.Close()
		}
	}
	p, err := target.Open(pid)
	if err != nil {
		if !errors.Is(err, target.ErrNoProcess) {
			t.config.Say(err.Error())
		}
		// It has ended already: what is known of it has to do.
		delete(t.processes, pid)
		gone := target.Ended{PID: pid, ExePath: image.path}
		t.assembler.SetProcess(pid, &span.Process{Resource: gone.Resource(t.describe(image)), Since: record.Start})
		return
	}
	if err := t.adopt(p, image, record.Start); err != nil {
		t.config.Say(err.Error())
	}
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

// notice takes note of processes that have ended.
func (t *Trace) notice() {
	for {
		select {
		case ended := <-t.ended:
			t.finishing = append(t.finishing, finishing{ended, t.session.Waiting()})
		default:
			return
		}
	}
}

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
		// Not where the process is known anew by now: see meet.
		if pid := f.process.PID(); t.processes[pid] == f.traced {
			errs = append(errs, t.endOpen(pid, span.ProcessExit), t.session.Forget(pid))
			t.assembler.Forget(pid)
			delete(t.processes, pid)
		}
		if f.process != t.command {
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
	for i := range records {
		if records[i].Kind == bpf.EventLink {
			t.assembler.Link(&records[i])
			continue
		}
		if s := t.assembler.End(&records[i], now, t.why(&records[i], why)); s != nil {
			if s.Incomplete == span.ProcessExit && s.Parent == (span.ID{}) {
				s.Exit = t.exit(int(records[i].Tgid))
			}
			t.summary.Open++
			t.emit(s)
		}
	}
	return err
}

// exit is how a process ended, or nil where that is not known.
func (t *Trace) exit(pid int) *span.Exit {
	traced := t.processes[pid]
	if traced == nil {
		return nil
	}
	if status, ok := traced.process.ExitStatus(); ok {
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

// finish detaches and tells what is left.
func (t *Trace) finish() error {
	err := t.session.Detach()
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

// sum adds up what became of the calls of each function.
func (t *Trace) sum() error {
	t.summary.Calls = make(map[string]Sum)
	for f, n := range t.spans {
		sum := t.summary.Calls[f.FullName]
		sum.Spans += n
		t.summary.Calls[f.FullName] = sum
	}
	if t.summary.LostSpans() == 0 {
		return nil
	}
	losses, err := t.session.LostCalls()
	function := uint32(0)
	for _, p := range t.plans {
		for i := range p.Functions {
			n := t.homeless[function]
			if int(function) < len(losses) {
				l := losses[function]
				n += l.RingFull + l.FramesFull + l.GoroutinesFull + l.NoGoroutine
			}
			if n > 0 {
				sum := t.summary.Calls[p.Functions[i].Name]
				sum.Lost += n
				t.summary.Calls[p.Functions[i].Name] = sum
			}
			function++
		}
	}
	return err
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
	return errors.Join(errs...)
}
