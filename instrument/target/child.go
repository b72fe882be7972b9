package target

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A child is what a Process has in addition when Start made it.
type child struct {
	// resume asks the tracing goroutine to detach and to answer.
	resume chan chan error
	// released is closed when nothing is traced any more; before, ran says
	// whether the child was let go, rather than killed.
	released chan struct{}
	ran      bool

	waiting sync.Once
	status  Status
	failure error
}

func newChild() *child {
	return &child{resume: make(chan chan error), released: make(chan struct{})}
}

// keepStopped runs on the tracing thread until the process is let go or ends.
func (c *child) keepStopped(p *Process) {
	defer close(c.released)
	select {
	case reply := <-c.resume:
		// PTRACE_DETACH drops the SIGTRAP of the stop, all options, and
		// whatever else ptrace has set.
		err := unix.PtraceDetach(p.pid)
		c.ran = err == nil
		reply <- err
	case <-p.done:
	}
}

// Resume lets a command that Start stopped run. Nothing of ptrace remains. For
// all others, and when it is called again, it does nothing. A command that was
// killed while it was stopped is ErrNoProcess; Wait says of what it died.
func (p *Process) Resume() error {
	if p.child == nil {
		return nil
	}
	err := p.child.detach()
	if errors.Is(err, unix.ESRCH) {
		err = ErrNoProcess
	}
	if err != nil {
		return fmt.Errorf("resume process %d: %w", p.pid, err)
	}
	return nil
}

func (c *child) detach() error {
	reply := make(chan error, 1)
	select {
	case c.resume <- reply:
		return <-reply
	case <-c.released:
		if c.ran {
			return nil
		}
		return ErrNoProcess
	}
}

// abandon kills and collects a child that never ran.
func (c *child) abandon(p *Process) {
	select {
	case <-c.released:
	default:
		if err := p.Kill(); err == nil {
			_, _ = p.Wait()
			<-c.released
		}
	}
}

// Kill sends SIGKILL. It is no error that the process has ended.
func (p *Process) Kill() error {
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, ErrNoProcess) {
		return err
	}
	return nil
}

// A Status is how a process ended.
type Status struct {
	// Code is the exit status of a process that exited.
	Code int
	// Signal is the signal that killed the process, else zero. CoreDumped
	// says that it left a core file.
	Signal     syscall.Signal
	CoreDumped bool
}

// ExitCode is the exit status by which a shell reports the end: the process's
// own, or 128 plus the signal.
func (s Status) ExitCode() int {
	if s.Signal != 0 {
		return 128 + int(s.Signal)
	}
	return s.Code
}

// SignalName is the name of the signal that killed the process, else empty.
func (s Status) SignalName() string {
	if s.Signal == 0 {
		return ""
	}
	return signalName(s.Signal)
}

// String says how the process ended: "exit status 3", "killed by SIGSEGV (core
// dumped)".
func (s Status) String() string {
	if s.Signal == 0 {
		return fmt.Sprintf("exit status %d", s.Code)
	}
	name := signalName(s.Signal)
	if s.CoreDumped {
		name += " (core dumped)"
	}
	return "killed by " + name
}

// signalName is a signal's name; real-time signals have none but their number.
func signalName(s unix.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// Wait waits for a process that Start made to end, collects it, and says how it
// ended. It may be called several times, also by several goroutines, and before
// Close. For a process that uspan did not start the status is not to be had, and
// Wait is an error: use Done.
func (p *Process) Wait() (Status, error) {
	if p.child == nil {
		return Status{}, fmt.Errorf("wait for process %d: it is no child of uspan", p.pid)
	}
	c := p.child
	c.waiting.Do(func() {
		// Without the pidfd, that is behind Close, the kernel has to wait.
		select {
		case <-p.done:
		case <-p.closed:
		}
		status, err := wait(p.pid)
		if err != nil {
			c.failure = fmt.Errorf("wait for process %d: %w", p.pid, err)
			return
		}
		c.status = statusOf(status)
	})
	return c.status, c.failure
}
