package attach

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/plan"
)

// Kernels without uprobe_multi links (before Linux 6.6) have a perf event for
// each site, with a link that carries the cookie. The kernel removes them one by
// one, however many processes close them: it waits for all processors each time,
// and holds a lock meanwhile (event_mutex in perf_uprobe_destroy,
// kernel/trace/trace_event_perf.c).

// maxPerfProbes bounds the perf events of a Session.
const maxPerfProbes = 300

// perfRemoval is about what it takes to remove one: measured, 0.05 to 0.1 s.
const perfRemoval = 100 * time.Millisecond

// perfBatch is how many sites one shielded process places: their events are open
// at once, beside the links.
const perfBatch = 64

// spareFiles are the file descriptors that uspan has for other things.
const spareFiles = 64 + perfBatch

// perfLink is union bpf_attr for BPF_LINK_CREATE with a perf event
// (include/uapi/linux/bpf.h).
type perfLink struct {
	program    uint32
	event      uint32
	attachType uint32
	_          uint32 // flags
	cookie     uint64
}

// sites is how many probes functions of a plan have, and what stands beside them.
func sites(p *plan.Plan, functions []int, tally bool) (n int) {
	for _, i := range functions {
		n += len(p.Functions[i].Entries)
		if !tally {
			n += len(p.Functions[i].Exits)
		}
	}
	if tally {
		return n
	}
	return n + len(p.Unwinding) + len(p.GoSites)
}

// NeedsMulti says why kernels without uprobe_multi links refuse plans, on any kernel;
// empty: they do not.
func NeedsMulti(plans []*plan.Plan, options Options) string {
	n := 0
	for _, p := range plans {
		all := make([]int, len(p.Functions))
		for i := range all {
			all[i] = i
		}
		n += sites(p, all, options.Tally)
	}
	if n <= maxPerfProbes {
		return ""
	}
	return fmt.Sprintf("Linux 6.6 or later: without uprobe_multi links, %d probes are allowed, and these are %d", maxPerfProbes, n)
}

// checkPerf refuses more perf events than there can be.
func checkPerf(have, more int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	const why = "this kernel has no uprobe_multi links (Linux 6.6 has), so that each probe is an open file"
	switch n := have + more; {
	case n > maxPerfProbes:
		return fmt.Errorf("%s and takes a while to remove: %d probes are more than the %d that are allowed here: "+
			"trace fewer functions (-f)", why, n, maxPerfProbes)
	case uint64(n+spareFiles) > limit.Cur:
		return fmt.Errorf("%s: %d probes are too many for a limit of %d open files: "+
			"raise it (ulimit -n %d), or trace fewer functions (-f)", why, n, limit.Cur, n+spareFiles)
	}
	return nil
}

// perfType is the number of the kernel's uprobe PMU.
func perfType() (uint32, error) {
	text, err := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	if errors.Is(err, os.ErrNotExist) {
		return 0, errors.New("this kernel has neither uprobe_multi links (Linux 6.6) nor uprobes as perf events (CONFIG_UPROBE_EVENTS)")
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	return uint32(n), err
}

// newPerfProbes makes the program run at sites of an executable, in one process
// or, with pid 0, in all. placed are the links by site, and failed the kernel's
// error where it refuses one, which leaves the others alone.
//
// An event of a process counts in all of its threads, since the kernel compares
// the address space (uprobe_perf_filter in kernel/trace/trace_uprobe.c), and one
// of all processes on all processors, whichever it is opened for: what is bound to
// the processor is the counting, which nobody asks for.
func newPerfProbes(program *ebpf.Program, path string, sites addresses, pid int) (placed []probes, failed []error, err error) {
	kind, err := perfType()
	if err != nil {
		return nil, nil, err
	}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, nil, err
	}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(name)
	for from := 0; from < len(sites.offsets) && err == nil; from += perfBatch {
		batch := sites.slice(from, min(from+perfBatch, len(sites.offsets)))
		var p []probes
		var errs []error
		p, errs, err = placePerf(program, kind, name, batch, pid)
		placed, failed = append(placed, p...), append(failed, errs...)
	}
	runtime.KeepAlive(program)
	return placed, failed, err
}

// placePerf is newPerfProbes for a batch.
func placePerf(program *ebpf.Program, kind uint32, name *byte, sites addresses, pid int) (placed []probes, failed []error, err error) {
	n := len(sites.offsets)
	events := make([]unix.PerfEventAttr, n)
	links := make([]perfLink, n)
	steps := make([]step, 0, 2*n)
	processor := -1
	if pid == 0 {
		pid, processor = -1, 0
	}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&events[0])
	pinned.Pin(&links[0])
	for i := range n {
		events[i] = unix.PerfEventAttr{
			Type: kind,
			Size: uint32(unsafe.Sizeof(events[i])),
			Ext1: uint64(uintptr(unsafe.Pointer(name))),
			Ext2: sites.offsets[i],
		}
		links[i] = perfLink{
			program:    uint32(program.FD()),
			attachType: uint32(ebpf.AttachPerfEvent),
			cookie:     sites.cookies[i],
		}
		steps = append(steps,
			step{
				number: unix.SYS_PERF_EVENT_OPEN,
				args:   [6]uintptr{uintptr(unsafe.Pointer(&events[i])), uintptr(pid), uintptr(processor), ^uintptr(0), unix.PERF_FLAG_FD_CLOEXEC},
				into:   &links[i].event,
			},
			step{
				number: unix.SYS_BPF,
				args:   [6]uintptr{unix.BPF_LINK_CREATE, uintptr(unsafe.Pointer(&links[i])), unsafe.Sizeof(links[i])},
			})
	}
	err = shielded(steps)
	placed, failed = make([]probes, n), make([]error, n)
	var opened probes
	for i := range n {
		event, link := steps[2*i].answer, steps[2*i+1].answer
		if event.given && event.errno == 0 {
			opened = append(opened, int(event.value))
		}
		switch {
		case event.errno != 0:
			failed[i] = event.errno
		case link.errno != 0:
			failed[i] = link.errno
		case link.given:
			placed[i] = probes{int(link.value)}
		}
	}
	// The links hold the events.
	return placed, failed, errors.Join(err, opened.Close())
}

// perfDenied says what the errors of a perf event mean that are about privileges.
func perfDenied(failure error) error {
	if errors.Is(failure, syscall.EACCES) || errors.Is(failure, syscall.EPERM) {
		return &MachineError{fmt.Errorf("%w: this kernel has no uprobe_multi links (Linux 6.6 has), and wants more for uprobes as perf events: "+
			"run uspan as root (sudo), or give it CAP_SYS_ADMIN", failure)}
	}
	return failure
}
