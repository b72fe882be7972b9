package attach

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shielded makes a system call in a process of its own that shares the file
// descriptors, so that SIGKILL for uspan cannot interrupt it. The kernel gives up
// placing and removing probes where a fatal signal waits, and leaves those that
// it has not come to in the target for good ("failed to unregister, leaking
// uprobe"; get_user_pages behind uprobe_unregister): the target would pay for
// them to its end.
//
// The process is a copy of uspan with this thread alone, that makes the call,
// writes down what came of it, and ends: in it nothing of the Go runtime works,
// neither the growth of a stack nor the reception of a signal. The pointers
// among the arguments must stay valid until it returns: see runtime.KeepAlive.
func shielded(number, a, b, c uintptr) (uintptr, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, fmt.Errorf("map a page: %w", err)
	}
	defer unix.Munmap(page) //nolint:errcheck // of a page that was mapped above
	answer := (*answer)(unsafe.Pointer(&page[0]))

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	pid, errno := callInCopy(number, a, b, c, answer)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		return 0, fmt.Errorf("unblock signals: %w", err)
	}
	if errno != 0 {
		return 0, fmt.Errorf("clone: %w", errno)
	}
	for {
		// It sends no signal when it ends, which makes it a "clone child".
		_, err := unix.Wait4(int(pid), nil, unix.WALL, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return 0, fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
	switch {
	case !answer.given:
		return 0, fmt.Errorf("process %d was killed while it placed or removed probes", pid)
	case answer.errno != 0:
		return 0, answer.errno
	}
	return answer.value, nil
}

// answer is what a system call returned, in memory that both processes see.
type answer struct {
	value uintptr
	errno syscall.Errno
	given bool
}

// callInCopy starts the process. As in package syscall's forkAndExecInChild,
// everything behind the clone has to do without the runtime.
//
//go:norace
//go:nosplit
func callInCopy(number, a, b, c uintptr, answer *answer) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, syscall.CLONE_FILES, 0, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	answer.value, _, answer.errno = syscall.RawSyscall(number, a, b, c)
	answer.given = true
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
