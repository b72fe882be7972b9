package target

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Command is a program to start.
type Command struct {
	// Path is the program; without a slash it is looked up in $PATH. It is
	// what the program sees as its own name (os.Args[0]).
	Path string
	// Args are the arguments behind the name.
	Args []string
	// Env is the environment; nil is uspan's own.
	Env []string
	// User is the account that the command runs as, if it is not empty: a
	// name, a user id of an account, or UID:GID. Its supplementary groups are
	// taken over; the environment is not changed.
	User string
	// UserFrom is where User was written, of one in a file: errors about it say so.
	UserFrom string
	// Stdin, Stdout and Stderr are the standard streams; nil is uspan's own.
	Stdin, Stdout, Stderr *os.File
}

// File is the file that Start would execute. The errors are those of Start.
func (c Command) File() (string, error) {
	path, err := lookPath(c.Path)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", c.Path, err)
	}
	return path, nil
}

// Start starts a command and stops it at its execve: the new executable is
// mapped, and not one instruction of it has run, until Resume. Until then it
// dies with uspan, whatever uspan dies of (PTRACE_O_EXITKILL); afterwards it
// lives on its own.
//
// The command stays in uspan's process group and session, and inherits which
// signals uspan ignored when it was started: call os/signal.Notify, or
// NewRelay, for SIGHUP or SIGINT only behind Start, or the command loses what
// nohup gave it (runtime.clearSignalHandlers).
//
// An error is ErrNotFound, ErrNotExecutable, or another that says that uspan
// was not able to start anything.
func Start(c Command) (*Process, error) {
	p, err := start(c)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

func start(c Command) (*Process, error) {
	path, err := lookPath(c.Path)
	if err != nil {
		return nil, err
	}
	if err := refuseFile(path); err != nil {
		return nil, err
	}
	inode, err := StatInode(path)
	if err != nil {
		return nil, err
	}
	var credential *syscall.Credential
	if c.User != "" {
		if credential, err = lookUser(c.User); err != nil {
			if c.UserFrom != "" {
				err = fmt.Errorf("%s: %w", c.UserFrom, err)
			}
			return nil, err
		}
	}
	begun := make(chan *Process)
	failed := make(chan error)
	// ptrace(2) binds a tracee to one thread of its tracer, and
	// PTRACE_O_EXITKILL acts when that thread ends: this goroutine keeps the
	// thread from the start to the detaching.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p, err := c.stopAtExec(path, inode, credential)
		if err != nil {
			failed <- err
			return
		}
		begun <- p
		p.child.keepStopped(p)
	}()
	select {
	case p := <-begun:
		return p, nil
	case err := <-failed:
		return nil, err
	}
}

// stopAtExec starts the command on the calling thread, which becomes its tracer.
func (c Command) stopAtExec(path string, inode Inode, credential *syscall.Credential) (*Process, error) {
	pidfd := -1
	attributes := &syscall.ProcAttr{
		Env:   c.Env,
		Files: []uintptr{stream(c.Stdin, os.Stdin), stream(c.Stdout, os.Stdout), stream(c.Stderr, os.Stderr)},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Credential: credential, PidFD: &pidfd},
	}
	if c.Env == nil {
		attributes.Env = os.Environ()
	}

	// A signal that came between the child's PTRACE_TRACEME and its execve
	// would stop it there for ever, with ForkExec waiting for the execve. So
	// the child is forked with all signals blocked but the one of the stop, and
	// gets its mask back when it has stopped.
	mask, err := blockSignals()
	if err != nil {
		return nil, fmt.Errorf("block signals: %w", err)
	}
	pid, err := syscall.ForkExec(path, append([]string{c.Path}, c.Args...), attributes)
	if restored := unix.PthreadSigmask(unix.SIG_SETMASK, mask, nil); restored != nil && err == nil {
		err = abort(pid, pidfd, fmt.Errorf("unblock signals: %w", restored))
	} else if err != nil {
		err = refuseExec(path, c.User, err)
	}
	runtime.KeepAlive(c)
	if err != nil {
		return nil, err
	}
	if err := awaitExec(pid); err != nil {
		return nil, abort(pid, pidfd, err)
	}
	if err := setSignalMask(pid, mask); err != nil {
		return nil, abort(pid, pidfd, fmt.Errorf("set the signal mask: %w", err))
	}
	if pidfd < 0 {
		return nil, abort(pid, pidfd, errors.New("the kernel gives no pidfds (Linux 5.10 does)"))
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, abort(pid, pidfd, fmt.Errorf("set up the pidfd: %w", err))
	}
	p, err := hold(pid, pidfd)
	if err != nil {
		return nil, abort(pid, -1, err)
	}
	if p.exe.inode != inode {
		p.Close()
		return nil, abort(pid, -1, fmt.Errorf("%w: the kernel executed %s instead (binfmt_misc), or the file was replaced meanwhile", ErrNotExecutable, p.exe.path))
	}
	p.child = newChild()
	return p, nil
}

func stream(f, own *os.File) uintptr {
	if f == nil {
		f = own
	}
	return f.Fd()
}

// awaitExec waits for the stop at the execve and arms PTRACE_O_EXITKILL. Without
// PTRACE_O_TRACEEXEC the stop is a SIGTRAP that the kernel sends when the execve
// has succeeded, delivered before the first instruction (ptrace_event in
// include/linux/ptrace.h).
func awaitExec(pid int) error {
	status, err := wait(pid)
	switch {
	case err != nil:
		return fmt.Errorf("wait for the execve: %w", err)
	case status.Stopped() && status.StopSignal() == syscall.SIGSEGV:
		// Where the kernel finds out too late for an error (load_elf_binary in
		// fs/binfmt_elf.c), the old program is gone already.
		return fmt.Errorf("%w: the kernel cannot load it: the file is damaged or truncated", ErrNotExecutable)
	case !status.Stopped() || status.StopSignal() != syscall.SIGTRAP:
		return fmt.Errorf("%w: it did not stop at its execve (wait status %#x)", ErrNoProcess, uint32(status))
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_EXITKILL); err != nil {
		return fmt.Errorf("bind the command's life to uspan's until it runs: %w", err)
	}
	return nil
}

// abort kills a child that is not to be used, collects it, and returns err. The
// child has not been waited for: its id cannot have been reused.
func abort(pid, pidfd int, err error) error {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		status, failed := wait(pid)
		if failed != nil || status.Exited() || status.Signaled() {
			break
		}
	}
	if pidfd >= 0 {
		_ = unix.Close(pidfd)
	}
	return err
}

func wait(pid int) (unix.WaitStatus, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err != unix.EINTR {
			return status, err
		}
	}
}

// blockSignals blocks all signals of the calling thread but SIGTRAP, and returns
// the mask before.
func blockSignals() (before *unix.Sigset_t, err error) {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	all.Val[0] &^= 1 << (unix.SIGTRAP - 1)
	before = new(unix.Sigset_t)
	return before, unix.PthreadSigmask(unix.SIG_SETMASK, &all, before)
}

// setSignalMask sets which signals a stopped tracee of this thread blocks. The
// kernel's sigset_t has 64 bits on all architectures that Go runs on but mips.
func setSignalMask(pid int, mask *unix.Sigset_t) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETSIGMASK,
		uintptr(pid), 8, uintptr(unsafe.Pointer(mask)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
