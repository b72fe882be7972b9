package attach

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

// An anchor is a probe of an executable that is in no process: it is for uspan's own
// alone, which does not run the executable. It makes removing the others safe.
//
// The kernel ends a process with SIGTRAP where one of its threads has executed a
// breakpoint and the kernel takes it for a process without probes (MMF_HAS_UPROBES,
// uprobe_pre_sstep_notifier in kernel/events/uprobes.c). It takes it for that once
// another thread comes back from a breakpoint that is gone, and no executable of the
// process has a probe left (mmf_recalc_uprobes). On arm64 nothing waits for the first
// thread; on amd64 the change of the code does, which interrupts every processor, but
// not for one that the hypervisor has taken away (kvm_flush_tlb_multi in
// arch/x86/kernel/kvm.c). Measured: three in about a hundred removals from a program
// that hits the last probe all the time, on an emulated arm64 under load.
//
// While there is an anchor, the executable has a probe. There are two: where uspan is
// killed, the kernel removes the probes of uprobe_multi links from the highest file
// descriptor to the lowest, and those of perf events from the lowest link to the highest
// (task_work_add), and waits for all processors with each (uprobe_unregister_sync;
// perf_trace_event_unreg).
func (a *attaching) anchor(file *gobin.Blocks, function int) error {
	p := a.session.plans[a.plan]
	site := p.Functions[function].Entries[0]
	// One that is hardly ever hit: each hit asks whether it is the anchor's, too.
	for i := range p.Unwinding {
		if verifySites(file, []plan.Site{p.Unwinding[i].Site}) == nil {
			site = p.Unwinding[i].Site
			break
		}
	}
	one := addresses{offsets: []uint64{site.Offset}, cookies: []uint64{0}, owners: []int{0}}
	for range 2 {
		placed, err := a.linkAll(a.session.objects.Leave, one, os.Getpid())
		if err != nil {
			return a.placeError(os.Getpid(), err)
		}
		a.session.anchors = append(a.session.anchors, placed)
	}
	return a.session.anchors[len(a.session.anchors)-1].raise()
}

// raise moves a link above the descriptors that others get, where as many are allowed.
func (p probes) raise() error {
	const above = 1000 // the most perf events, and all else: see checkPerf
	if fd, err := unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD_CLOEXEC, above); err == nil {
		low := p[0]
		p[0] = fd
		return unix.Close(low)
	}
	return nil
}

// removeAnchors removes them when no thread can be on its way from a probe that has
// been removed.
func (s *Session) removeAnchors() error {
	if len(s.anchors) == 0 {
		return nil
	}
	awaitProcessors()
	err := closeAll(s.anchors)
	s.anchors = nil
	return err
}

// awaitProcessors waits until what runs in the kernel at this moment, and cannot be
// interrupted, has come to its end on every processor: a grace period of RCU. Where
// that is forbidden (seccomp), or not to be had (nohz_full), there is nothing to do
// about it.
func awaitProcessors() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL of include/uapi/linux/membarrier.h
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
}
