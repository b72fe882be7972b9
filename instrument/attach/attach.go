// Package attach puts plans into the kernel and reads events back: it owns every
// kernel object that uspan makes. Linux 6.6 or later (uprobe_multi links).
package attach

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// Options are the settings of a Session.
type Options struct {
	// Live makes the begin of each call an event, too.
	Live bool
	// StringBytes bounds a captured string, in bytes. 0: 128.
	StringBytes int
	// RingBytes is the size of the ring buffer; a power of two. 0: 8 MiB.
	RingBytes int
	// OpenCalls bounds the calls that are open at any moment, of all goroutines.
	// 0: DefaultOpenCalls.
	OpenCalls int
}

// Bounds of Options.OpenCalls.
const (
	MinOpenCalls     = 1 << 10
	DefaultOpenCalls = 1 << 18
	MostOpenCalls    = 1 << 24
)

func (o Options) withDefaults() Options {
	if o.StringBytes == 0 {
		o.StringBytes = 128
	}
	if o.RingBytes == 0 {
		o.RingBytes = 8 << 20
	}
	if o.OpenCalls == 0 {
		o.OpenCalls = DefaultOpenCalls
	}
	return o
}

// A Session is a set of plans in the kernel. Its methods may be called from one
// goroutine at a time, Read beside them from another.
type Session struct {
	objects bpf.Objects
	ring    *ringbuf.Reader
	record  ringbuf.Record
	plans   []*plan.Plan
	base    []int // of each plan's functions among all of them
	enter   []probes
	leave   []probes
	signals link.Link
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
	if err := tables.configure(spec, options); err != nil {
		return nil, fmt.Errorf("configure the BPF programs: %w", err)
	}
	session := &Session{plans: plans, base: tables.base}
	if err := spec.LoadAndAssign(&session.objects, nil); err != nil {
		return nil, loadError(err)
	}
	if err := tables.write(&session.objects); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the BPF maps: %w", err), session.Close())
	}
	session.ring, err = ringbuf.NewReader(session.objects.Events)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), session.Close())
	}
	session.ring.SetDeadline(time.Now().Add(flushInterval))
	return session, nil
}

// loadError says what a failure to load means and what can be done.
func loadError(err error) error {
	if errors.Is(err, os.ErrPermission) && !errors.As(err, new(*ebpf.VerifierError)) {
		// The library guesses at RLIMIT_MEMLOCK, which is not it.
		return fmt.Errorf("load the BPF programs: %w: run uspan as root (sudo), "+
			"or give it CAP_BPF and CAP_PERFMON", unix.EPERM)
	}
	if features.HaveBPFLinkUprobeMulti() != nil {
		return unsupported(err)
	}
	return fmt.Errorf("load the BPF programs: %w", err)
}

func unsupported(err error) error {
	return fmt.Errorf("this kernel has no uprobe_multi links: Linux 6.6 or later is needed: %w", err)
}

// Watch makes the events of a process come: without it, only processes of
// executables that are attached with every are targets.
func (s *Session) Watch(pid int) error {
	if err := s.objects.Processes.Put(uint32(pid), uint32(1)); err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	return nil
}

// Forget ends Watch, or what the kernel knows of a process that has ended.
func (s *Session) Forget(pid int) error {
	err := s.objects.Processes.Delete(uint32(pid))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget process %d: %w", pid, err)
	}
	return nil
}

// Attach places the probes of the plan with that index into the executable that
// file is; its bytes are compared with the plan's. Functions that the kernel
// refuses come back as skipped; no function left is an error.
//
// The probes are in the processes of pids, each of which Watch has to be told
// of. With none, all processes of the executable are targets, now and later.
func (s *Session) Attach(index int, file *os.File, pids []int) ([]plan.Skipped, error) {
	p := s.plans[index]
	skipped, err := s.attach(index, file, pids)
	if err != nil {
		return skipped, fmt.Errorf("attach %s: %w", p.File.Path, err)
	}
	return skipped, nil
}

func (s *Session) attach(index int, file *os.File, pids []int) ([]plan.Skipped, error) {
	p := s.plans[index]
	if err := s.objects.Binaries.Put(uint32(index), binaryOf(p, len(pids) == 0)); err != nil {
		return nil, err
	}
	if len(pids) == 0 || !filtersProcesses() {
		pids = everywhere
	}
	functions, skipped, err := verify(p, file)
	if err != nil {
		return nil, err
	}
	a := attaching{
		session: s,
		plan:    index,
		// The path of the open file: nothing can come between the bytes that were
		// compared and the file that is probed.
		path: fmt.Sprintf("/proc/self/fd/%d", file.Fd()),
	}
	for len(functions) > 0 {
		refused, err := a.attach(functions, pids)
		if err != nil {
			return skipped, err
		}
		if len(refused) == 0 {
			s.enter = append(s.enter, a.enter...)
			s.leave = append(s.leave, a.leave...)
			return skipped, nil
		}
		functions = slices.DeleteFunc(functions, func(i int) bool {
			reason, no := refused[i]
			if no {
				skipped = append(skipped, plan.Skipped{Function: p.Functions[i].Function, Reason: reason})
			}
			return no
		})
	}
	return skipped, fmt.Errorf("no function can be traced: %s", skipped[0].Reason)
}

// everywhere is the process id of a link whose probes are in every process.
var everywhere = []int{0}

// filtersProcesses says whether the kernel puts the probes of a link with a
// process id into that process alone, and into all of its threads: before Linux
// 6.10 it left out all threads but one (46ba0e49b642, "bpf: fix multi-uprobe PID
// filtering logic"). A kernel that has the correction in an older version only
// makes other processes of the executable pay, whose events the programs drop.
func filtersProcesses() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 6 || major == 6 && minor >= 10)
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
	// Entries first: a call that is seen to begin is seen to end.
	err := errors.Join(closeAll(s.enter), closeAll(s.leave))
	s.enter, s.leave = nil, nil
	return err
}

// Lost is what was lost so far, by cause.
func (s *Session) Lost() (bpf.Counters, error) {
	var counters bpf.Counters
	err := s.objects.Counted.Get(&counters)
	return counters, err
}

// Close detaches and frees everything in the kernel. Close is idempotent.
func (s *Session) Close() error {
	errs := []error{s.Detach()}
	if s.signals != nil {
		errs = append(errs, s.signals.Close())
		s.signals = nil
	}
	if s.ring != nil {
		errs = append(errs, s.ring.Close())
	}
	return errors.Join(append(errs, s.objects.Close())...)
}
