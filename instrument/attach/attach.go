// Package attach puts plans into the kernel and reads events back: it owns every
// kernel object that uspan makes. Linux 6.6 or later, where one uprobe_multi link
// has all probes of a program; down to Linux 6.1 with a perf event for each of
// some hundreds of probes (see perf.go).
package attach

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
)

// Options are the settings of a Session.
type Options struct {
	// Live makes the begin of each call an event, too.
	Live bool
	// RingBytes is the size of the ring buffer; a power of two. 0: 8 MiB.
	RingBytes int
	// OpenCalls is for how many calls that are open at any moment there is room at
	// least: for as many goroutines with their outermost calls, and for as many calls
	// below these. 0: DefaultOpenCalls.
	OpenCalls int
	// Processes bounds the processes that are targets at any moment. 0:
	// DefaultProcesses.
	Processes int
	// Follow makes processes that a target has started, and what a target executes,
	// targets too, where they run an executable that is traced.
	Follow bool
	// Histograms counts calls by their durations: none is an event. See Durations.
	Histograms bool
	// EventBytes bounds the captured values of one call in bytes, from MinEventBytes
	// to MaxEventBytes. 0: MaxEventBytes.
	EventBytes int
	// TraceSpans bounds the spans of a trace, about. 0: it does not.
	TraceSpans int
	// Stacks makes the stack at its entry part of each call; Tally does nothing else
	// but count the calls by it: see Tallies.
	Stacks, Tally bool
	// NoMulti goes without uprobe_multi links, as on kernels that have none.
	NoMulti bool
}

// Bounds of Options.OpenCalls.
const (
	MinOpenCalls     = 1 << 10
	DefaultOpenCalls = 1 << 18
	MostOpenCalls    = 1 << 24
)

func (o Options) withDefaults() Options {
	switch {
	case o.RingBytes != 0:
	case o.Histograms: // only processes are told of
		o.RingBytes = 256 << 10
	default:
		o.RingBytes = 8 << 20
	}
	if o.EventBytes == 0 {
		o.EventBytes = MaxEventBytes
	}
	if o.Processes == 0 {
		o.Processes = DefaultProcesses
	}
	if o.OpenCalls == 0 {
		o.OpenCalls = DefaultOpenCalls
	}
	return o
}

// A Session is a set of plans in the kernel. Process and thread ids are those of
// uspan's own PID namespace, and processes outside of it are no targets. Its
// methods may be called from one goroutine at a time, Read beside them from
// another.
type Session struct {
	objects bpf.Objects
	ring    *ringbuf.Reader
	record  ringbuf.Record
	plans   []*plan.Plan
	base    []int // of each plan's functions among all of them
	enter   []probes
	leave   []probes
	aside   []probes // in the runtime, and on go statements
	anchors []probes // see anchor
	// lives are the links by which starts and ends of processes are seen, and signals
	// that by which those of the terminal are.
	lives, signals []link.Link
	follow         bool
	// multi says that the kernel has uprobe_multi links.
	multi   bool
	tally   bool                // Options.Tally
	watches uint32              // so far
	watched map[int]bpf.Process // what Watch wrote, by process id
	goBase  []int               // of each plan's `go` statements among all of them
	// unwatched and rootless are why the probes that see panics, and those on
	// `go` statements, could not be placed, by plan.
	unwatched, rootless map[int]string
	settled             []uint32 // the executables that are: see settle
	// givenUp are calls that were put off and could not be told, by function.
	givenUp map[uint32]uint64
}

// flushInterval is how long an event waits in the ring at most.
const flushInterval = 100 * time.Millisecond

// Fits is an error where a plan is for executables that this kernel does not
// run: it can be looked at, but not attached.
func Fits(p *plan.Plan) error {
	if string(p.File.Arch) == runtime.GOARCH {
		return nil
	}
	return fmt.Errorf("%s is an executable for %s, and this kernel runs %s: look at it with --dry-run, trace it where it runs",
		p.File.Path, p.File.Arch, runtime.GOARCH)
}

// NewSession loads the programs for plans, each of which Fits; nothing is
// attached yet. The function of an event is an index into the functions of all
// plans, in order.
func NewSession(plans []*plan.Plan, options Options) (*Session, error) {
	options = options.withDefaults()
	tables := newTables(plans, options)
	spec, err := bpf.Spec()
	if err != nil {
		return nil, fmt.Errorf("load the BPF programs: %w", err)
	}
	ns, err := ownNamespace()
	if err != nil {
		return nil, err
	}
	if err := tables.configure(spec, options, ns); err != nil {
		return nil, fmt.Errorf("configure the BPF programs: %w", err)
	}
	session := &Session{plans: plans, tally: options.Tally, follow: options.Follow, base: tables.base, goBase: tables.goBase, multi: !options.NoMulti && hasMulti(), watched: make(map[int]bpf.Process), unwatched: make(map[int]string), rootless: make(map[int]string), givenUp: make(map[uint32]uint64)}
	if !session.multi {
		// A program is for links of one kind.
		for _, name := range []string{"enter", "leave", "unwound", "spawned", "catch_up", "tally"} {
			spec.Programs[name].AttachType = ebpf.AttachNone
		}
	}
	if err := spec.LoadAndAssign(&session.objects, nil); err != nil {
		return nil, loadError(err)
	}
	if err := tables.write(&session.objects); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the BPF maps: %w", err), session.Close())
	}
	if err := session.watchProcesses(); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	session.ring, err = ringbuf.NewReader(session.objects.Events)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), session.Close())
	}
	session.ring.SetDeadline(time.Now().Add(flushInterval))
	return session, nil
}

// A MachineError is that the kernel, or what it permits, is not what uspan needs: no
// function of any executable can be traced.
type MachineError struct{ error }

// Unwrap is the cause.
func (e *MachineError) Unwrap() error { return e.error }

// loadError says what a failure to load means and what can be done.
func loadError(err error) error { return &MachineError{explainLoad(err)} }

func explainLoad(err error) error {
	if missing := missing(); missing != "" {
		// Before Linux 5.11, it is RLIMIT_MEMLOCK that denies the permission.
		return fmt.Errorf("uspan does not run on this kernel, which has no %s: Linux 6.1 or later is needed, with BTF", missing)
	}
	if errors.Is(err, os.ErrPermission) && !errors.As(err, new(*ebpf.VerifierError)) {
		if !target.InitUserNamespace() {
			return fmt.Errorf("load the BPF programs: %w: uspan is in a user namespace (a rootless container?), "+
				"whose root is not the host's: run it outside, as root", unix.EPERM)
		}
		// The library guesses at RLIMIT_MEMLOCK, which is not it.
		return fmt.Errorf("load the BPF programs: %w: run uspan as root (sudo), "+
			"or give it CAP_BPF and CAP_PERFMON", unix.EPERM)
	}
	return fmt.Errorf("load the BPF programs: %w", err)
}

// Attach places the probes of the plan with that index into the executable that
// file is; its bytes are compared with the plan's. Functions that the kernel
// refuses come back as skipped; no function left is an error.
//
// The probes are in the processes of pids, each of which Watch has to be told
// of; with Options.Follow in others, too, which may be their relatives. With none,
// all processes of the executable are targets, now and later.
func (s *Session) Attach(index int, file *os.File, pids []int) ([]plan.Skipped, error) {
	p := s.plans[index]
	skipped, err := s.attach(index, file, pids)
	if err != nil {
		return skipped, fmt.Errorf("attach %s: %w", p.File.Path, err)
	}
	return skipped, nil
}

func (s *Session) attach(index int, file *os.File, pids []int) (skipped []plan.Skipped, err error) {
	p := s.plans[index]
	if err := s.objects.Binaries.Put(uint32(index), binaryOf(p, len(pids) == 0)); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The plan's own blocks have what the file was when it was planned for.
	blocks := gobin.NewBlocks(file, info.Size())
	functions, skipped := verify(p, blocks)
	if len(pids) == 0 || s.follow || s.multi && !filtersProcesses() {
		pids = everywhere
	}
	if !s.multi {
		n := sites(p, functions, s.tally)
		if s.links()+n*len(pids) > maxPerfProbes {
			pids = everywhere // once for all of them: others pay, and are not told of
		}
		if err := checkPerf(s.links(), n*len(pids)); err != nil {
			return skipped, err
		}
	}
	a := attaching{
		session: s,
		plan:    index,
		// The path of the open file: nothing can come between the bytes that were
		// compared and the file that is probed.
		path: fmt.Sprintf("/proc/self/fd/%d", file.Fd()),
	}
	if len(functions) > 0 {
		if err := a.anchor(blocks, functions[0]); err != nil {
			return skipped, err
		}
	}
	if len(functions) > 0 && !s.tally {
		// Panics and go statements before everything else, as exits before entries: what
		// unwinds a call that is seen to begin, and what it begins, must be seen. While
		// no call is open they tell of nothing.
		s.unwatched[index] = a.watchPanics(blocks, pids)
		s.rootless[index] = a.watchGo(blocks, pids)
		defer func() {
			if err != nil {
				err = errors.Join(err, closeAll(a.aside))
				return
			}
			s.aside = append(s.aside, a.aside...)
		}()
	}
	for len(functions) > 0 {
		place := a.attach
		if !s.multi {
			place = a.attachEach
		}
		refused, err := place(functions, pids)
		if err != nil {
			return skipped, err
		}
		functions = slices.DeleteFunc(functions, func(i int) bool {
			reason, no := refused[i]
			if no {
				skipped = append(skipped, plan.Skipped{Function: p.Functions[i].Function, Reason: reason})
			}
			return no
		})
		if len(a.enter)+len(a.leave) > 0 {
			s.enter = append(s.enter, a.enter...)
			s.leave = append(s.leave, a.leave...)
			if s.Unwatched(index) != "" {
				return skipped, nil
			}
			s.settled = append(s.settled, uint32(index))
			return skipped, s.settle(uint32(index), 1)
		}
	}
	return skipped, fmt.Errorf("no function can be traced: %s", skipped[0].Reason)
}

// settle says whether, of an executable, every call is seen to begin, and every panic.
func (s *Session) settle(index, settled uint32) error {
	var binary bpf.Binary
	if err := s.objects.Binaries.Lookup(index, &binary); err != nil {
		return err
	}
	binary.Settled = settled
	return s.objects.Binaries.Put(index, &binary)
}

// everywhere is the process id of a link whose probes are in every process.
var everywhere = []int{0}

// links is how many links there are, without anchors.
func (s *Session) links() (n int) {
	for _, placed := range slices.Concat(s.enter, s.leave, s.aside) {
		n += len(placed)
	}
	return n
}

// Removal is about how long Detach is going to take, where that is worth a word:
// on kernels without uprobe_multi links.
func (s *Session) Removal() time.Duration {
	if s.multi {
		return 0
	}
	return time.Duration(s.links()) * perfRemoval
}

// ErrIdle is Read's answer when there are no events.
var ErrIdle = errors.New("no events")

// Read returns the next event; its Values are good until the next Read. It
// waits for events, and answers ErrIdle when it has waited for 100 ms or was
// woken by Wake and the ring is empty; os.ErrClosed after Close.
func (s *Session) Read() (bpf.Record, error) {
	err := s.ring.ReadInto(&s.record)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
		s.ring.SetDeadline(time.Now().Add(flushInterval))
		return bpf.Record{}, ErrIdle
	case err != nil:
		return bpf.Record{}, err
	}
	return bpf.ParseRecord(s.record.RawSample)
}

// Wake makes a Read that waits return. It may be called from any goroutine.
func (s *Session) Wake() { _ = s.ring.Flush() } // fails only after Close

// Waiting is how many bytes of events wait in the ring.
func (s *Session) Waiting() int { return s.ring.AvailableBytes() }

// RecordBytes is how many bytes of the ring the last Read took.
func (s *Session) RecordBytes() int { return ringHeader + (len(s.record.RawSample)+7)&^7 }

// ringHeader is the size of a record's header in the ring in bytes
// (BPF_RINGBUF_HDR_SZ of include/uapi/linux/bpf.h).
const ringHeader = 8

// Detach removes every probe. Open calls stay open: see Open.
func (s *Session) Detach() error {
	var err error
	for _, index := range s.settled {
		err = errors.Join(err, s.settle(index, 0))
	}
	s.settled = nil
	// Entries first: a call that is seen to begin is seen to end. What sees panics goes
	// last: an exit would find calls whose panic it has not seen.
	err = errors.Join(err, closeAll(s.enter), closeAll(s.leave), closeAll(s.aside))
	s.enter, s.leave, s.aside = nil, nil, nil
	return errors.Join(err, s.removeAnchors())
}

// Lost is what was lost so far, by cause.
func (s *Session) Lost() (bpf.Counters, error) {
	var counters bpf.Counters
	err := s.objects.Counted.Get(&counters)
	for _, calls := range s.givenUp {
		counters.NoGoroutine += calls
	}
	return counters, err
}

// LostCalls is what was lost so far of each function's calls, by cause, in the
// order of the functions of all plans.
func (s *Session) LostCalls() ([]bpf.Losses, error) {
	n := s.objects.Lost.MaxEntries()
	keys, all := make([]uint32, n), make([]bpf.Losses, n)
	var cursor ebpf.MapBatchCursor
	read, err := s.objects.Lost.BatchLookup(&cursor, keys, all, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read what was lost: %w", err)
	}
	for function, calls := range s.givenUp {
		all[function].NoGoroutine += calls
	}
	return all[:read], nil
}

// Close detaches and frees everything in the kernel. Close is idempotent.
func (s *Session) Close() error {
	errs := []error{s.Detach()}
	for _, l := range append(s.lives, s.signals...) {
		errs = append(errs, l.Close())
	}
	s.lives, s.signals = nil, nil
	if s.ring != nil {
		errs = append(errs, s.ring.Close())
	}
	return errors.Join(append(errs, s.objects.Close())...)
}
