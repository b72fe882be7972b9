package attach

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// probes are links, by their file descriptors: one uprobe_multi link, or a link
// for each site (see perf.go). The library that makes all other kernel objects
// is not used, since these calls have to be shielded.
type probes []int

// linkCreate is union bpf_attr for BPF_LINK_CREATE with uprobe_multi
// (include/uapi/linux/bpf.h).
type linkCreate struct {
	program    uint32
	target     uint32
	attachType uint32
	_          uint32 // flags
	path       uintptr
	offsets    uintptr
	_          uintptr // reference counters
	cookies    uintptr
	count      uint32
	_          uint32 // flags
	pid        uint32
	_          uint32
}

// newMultiProbes makes the program run at offsets of an executable, with a
// cookie each, in one process or, with pid 0, in all. The errors are the kernel's.
func newMultiProbes(program *ebpf.Program, path string, offsets, cookies []uint64, pid int) (probes, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, err
	}
	attr := &linkCreate{
		program:    uint32(program.FD()),
		attachType: uint32(ebpf.AttachTraceUprobeMulti),
		count:      uint32(len(offsets)),
		pid:        uint32(pid),
	}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(attr)
	pinned.Pin(name)
	pinned.Pin(&offsets[0])
	pinned.Pin(&cookies[0])
	attr.path = uintptr(unsafe.Pointer(name))
	attr.offsets = uintptr(unsafe.Pointer(&offsets[0]))
	attr.cookies = uintptr(unsafe.Pointer(&cookies[0]))
	steps := []step{{number: unix.SYS_BPF, args: [6]uintptr{unix.BPF_LINK_CREATE, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr)}}}
	err = shielded(steps)
	runtime.KeepAlive(program)
	if answer := steps[0].answer; err == nil && answer.errno != 0 {
		err = answer.errno
	}
	if err != nil {
		return nil, err
	}
	return probes{int(steps[0].answer.value)}, nil
}

func (p probes) Close() error {
	if len(p) == 0 {
		return nil
	}
	steps := make([]step, len(p))
	for i, fd := range p {
		steps[i] = step{number: unix.SYS_CLOSE, args: [6]uintptr{uintptr(fd)}}
	}
	if err := shielded(steps); err != nil {
		return fmt.Errorf("remove probes: %w", err)
	}
	for _, s := range steps {
		if s.answer.errno != 0 {
			return fmt.Errorf("remove probes: %w", s.answer.errno)
		}
	}
	return nil
}

// closers is how many processes remove probes at once.
const closers = 16

// closeAll closes links side by side: each waits until no processor runs the
// program any more.
func closeAll(all []probes) error {
	return sideBySide(slices.Concat(all...), probes.Close)
}

// sideBySide closes links in as many groups as there are closers, at once.
func sideBySide(links probes, closing func(probes) error) error {
	groups := min(len(links), closers)
	errs := make([]error, groups)
	var running sync.WaitGroup
	for i := range groups {
		group := links[len(links)*i/groups : len(links)*(i+1)/groups]
		running.Go(func() { errs[i] = closing(group) })
	}
	running.Wait()
	return errors.Join(errs...)
}
