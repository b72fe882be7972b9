package attach

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// probes are a uprobe_multi link, by its file descriptor. The library that makes
// all other kernel objects is not used, since these calls have to be shielded.
type probes int

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

// newProbes makes the program run at offsets of an executable, with a cookie
// each, in one process or, with pid 0, in all. The errors are the kernel's.
func newProbes(program *ebpf.Program, path string, offsets, cookies []uint64, pid int) (probes, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, err
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
	fd, err := shielded(unix.SYS_BPF, unix.BPF_LINK_CREATE, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	runtime.KeepAlive(program)
	return probes(fd), err
}

func (p probes) Close() error {
	if _, err := shielded(unix.SYS_CLOSE, uintptr(p), 0, 0); err != nil {
		return fmt.Errorf("remove probes: %w", err)
	}
	return nil
}

// closeAll closes them side by side: each waits until no processor runs the
// program any more.
func closeAll(all []probes) error {
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, p := range all {
		closing.Go(func() { errs[i] = p.Close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}
