// Package target starts and finds the processes that are traced, says who they
// are, and when they end. It is the third step of the flow (see package
// instrument): what it hands on are a file to probe and a span.Resource.
package target

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNoProcess says that a process does not exist, or no longer.
var ErrNoProcess = errors.New("no such process")

// A Process is one process, held by a pidfd, so that a reused process id cannot
// be taken for it. It is safe for concurrent use. It holds one file descriptor
// and one goroutine until the process ends or Close is called.
type Process struct {
	pid     int
	started uint64 // clock ticks from boot to the start, /proc/PID/stat
	exe     executable
	who     identity

	pidfd *os.File // non-blocking, so that the runtime's poller watches it
	done  chan struct{}
	child *child // nil where uspan did not start the process

	closing sync.Once
	closed  chan struct{}
}

// Open takes hold of a running process. It reads what Resource needs at once:
// that can be asked for when the process is gone.
//
// It refuses, and says so, a process id that does not exist (ErrNoProcess), that
// belongs to a thread, a kernel thread, a zombie, or uspan itself, and a process
// whose /proc/PID/exe may not be read (ptrace(2): PTRACE_MODE_READ). It needs
// Linux 5.10 (PIDFD_NONBLOCK).
func Open(pid int) (*Process, error) {
	if pid == os.Getpid() {
		return nil, fmt.Errorf("process %d: it is uspan itself, which cannot trace itself", pid)
	}
	// The pidfd comes first: while the process that it holds has not ended,
	// /proc/PID is that process.
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, refuseID(pid, err))
	}
	p, err := hold(pid, fd)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

// refuseID says why a process id is none that can be opened; err is pidfd_open's.
func refuseID(pid int, err error) error {
	if pid <= 0 {
		return errors.New("a process id is a positive number")
	}
	if thread := refuseThread(pid); thread != nil {
		return thread
	}
	// EINVAL and, since Linux 6.15, ENOENT are the answers for the id of a
	// thread; a thread that ended meanwhile does not exist.
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return ErrNoProcess
	}
	return fmt.Errorf("open a pidfd: %w", err)
}

// refuseThread says what to do about an id that is a thread's and not a process's.
func refuseThread(id int) error {
	switch s, err := readStatus(id); {
	case err != nil || s.tgid == id:
		return nil //nolint:nilerr // what ended is no thread
	case s.tgid == os.Getpid():
		return errors.New("it is a thread of uspan itself, which cannot trace itself")
	default:
		return fmt.Errorf("it is a thread of process %d (%s), not a process: give %d", s.tgid, s.name, s.tgid)
	}
}

// hold makes a Process of a pidfd, which it takes over, and of what /proc says
// of the process.
func hold(pid, fd int) (*Process, error) {
	p := &Process{
		pid:    pid,
		pidfd:  os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of process %d", pid)),
		done:   make(chan struct{}),
		closed: make(chan struct{}),
	}
	if err := p.learn(); err != nil {
		p.pidfd.Close()
		return nil, err
	}
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		p.pidfd.Close()
		return nil, fmt.Errorf("watch the pidfd: %w", err)
	}
	go func() {
		defer close(p.closed)
		// The runtime's poller wakes this goroutine when the pidfd becomes
		// readable: when the process and all of its threads have ended
		// (pidfd_open(2)). Close ends the wait with an error.
		if conn.Read(ended) == nil {
			close(p.done)
		}
	}()
	return p, nil
}

// ended says whether the process of a pidfd has ended; it does not block.
func ended(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// learn reads from /proc what identifies the process and what it is.
func (p *Process) learn() error {
	st, err := readStat(p.pid)
	if err != nil {
		return p.vanished(err)
	}
	p.started = st.started
	switch {
	case st.kernel():
		return fmt.Errorf("it is a thread of the kernel (%s)", st.name)
	case st.zombie():
		return fmt.Errorf("%w: it has ended (a zombie that its parent, process %d, has not waited for)", ErrNoProcess, st.parent)
	}
	if thread := refuseThread(p.pid); thread != nil {
		return thread
	}
	if p.exe, err = readExecutable(p.pid); err != nil {
		return p.vanished(err)
	}
	p.who = p.identify()
	if !p.Alive() {
		return ErrNoProcess
	}
	return nil
}

// vanished turns what /proc answers when a process has gone into ErrNoProcess,
// and a refusal into one that names the way out.
func (p *Process) vanished(err error) error {
	switch {
	case !p.Alive():
		return ErrNoProcess
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: it belongs to another user or is protected; run uspan as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", err)
	case errors.Is(err, os.ErrNotExist):
		// One that is about to end has no memory and no executable any more.
		if _, hidden := readStat(p.pid); hidden == nil || !p.Alive() {
			return ErrNoProcess
		}
		return fmt.Errorf("%w: /proc does not show the process (is it mounted with hidepid?)", err)
	default:
		return err
	}
}

// PID is the process id as uspan sees it.
func (p *Process) PID() int { return p.pid }

// StartTime is when the process started, in clock ticks since the boot
// (/proc/PID/stat, field 22). With the process id it names one process of a boot.
func (p *Process) StartTime() uint64 { return p.started }

// Alive says whether the process has not ended. A zombie has.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
	}
	gone := true
	err := p.control(func(fd uintptr) error { gone = ended(fd); return nil })
	return err == nil && !gone
}

// Done is closed when the process has ended: all of its threads, whether or not
// its parent has waited for it. It is not closed by Close.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process, and to no other: the pidfd is used. A
// process that has ended is ErrNoProcess.
func (p *Process) Signal(sig unix.Signal) error {
	err := p.control(func(fd uintptr) error {
		return unix.PidfdSendSignal(int(fd), sig, nil, 0)
	})
	if errors.Is(err, unix.ESRCH) {
		err = ErrNoProcess
	}
	if err != nil {
		return fmt.Errorf("send %s to process %d: %w", signalName(sig), p.pid, err)
	}
	return nil
}

// control calls f with the pidfd, which cannot be closed meanwhile.
func (p *Process) control(f func(fd uintptr) error) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = f(fd) }); err != nil {
		return err
	}
	return failed
}

// Close lets go of the process, which goes on; only one that Start stopped and
// that was never resumed is killed, since nobody else could resume it. Close is
// idempotent.
func (p *Process) Close() error {
	var err error
	p.closing.Do(func() {
		if p.child != nil {
			p.child.abandon(p)
		}
		err = p.pidfd.Close()
		<-p.closed
	})
	return err
}
