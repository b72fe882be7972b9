package attach

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A step is one of the system calls of shielded, and what came of it.
type step struct {
	number uintptr
	args   [6]uintptr
	// into is where the value is written, too, for a later step: part of what its
	// arguments point at.
	into   *uint32
	answer answer
}

// answer is what a system call returned.
type answer struct {
	value uintptr
	errno syscall.Errno
	given bool
}

// shielded makes system calls in a process of its own that shares the file
// descriptors, so that SIGKILL for uspan cannot interrupt them. The kernel gives
// up placing and removing probes where a fatal signal waits, and leaves those
// that it has not come to in the target for good ("failed to unregister, leaking
// uprobe"; get_user_pages behind uprobe_unregister): the target would pay for
// them to its end.
//
// The process is a copy of uspan with this thread alone, that makes the calls,
// writes down what came of them, and ends: in it nothing of the Go runtime works,
// neither the growth of a stack nor the reception of a signal. All steps are
// made, also behind one that fails. The pointers among the arguments must stay
// valid until it returns: see runtime.Pinner.
func shielded(steps []step) error {
	page, err := unix.Mmap(-1, 0, len(steps)*int(unsafe.Sizeof(answer{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map a page: %w", err)
	}
	defer unix.Munmap(page) //nolint:errcheck // of a page that was mapped above
	// Memory that both processes see.
	answers := unsafe.Slice((*answer)(unsafe.Pointer(&page[0])), len(steps))

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	pid, errno := callInCopy(steps, answers)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	if errno != 0 {
		return fmt.Errorf("clone: %w", errno)
	}
	for {
		// It sends no signal when it ends, which makes it a "clone child".
		_, err := unix.Wait4(int(pid), nil, unix.WALL, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
	for i := range steps {
		steps[i].answer = answers[i]
	}
	if !answers[len(steps)-1].given {
		return fmt.Errorf("process %d was killed while it placed or removed probes", pid)
	}
	return nil
}

// callInCopy starts the process. As in package syscall's forkAndExecInChild,
// everything behind the clone has to do without the runtime.
//
//go:norace
//go:nosplit
func callInCopy(steps []step, answers []answer) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, syscall.CLONE_FILES, 0, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	for i := 0; i < len(steps); i++ {
		s, a := &steps[i], &answers[i]
		a.value, _, a.errno = syscall.RawSyscall6(s.number, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		if s.into != nil {
			*s.into = uint32(a.value)
		}
		a.given = true
	}
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
