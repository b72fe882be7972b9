package target

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Relay passes the signals that uspan gets on to a command, so that whoever
// signals uspan need not know that the command is behind it.
type Relay struct {
	send         func(unix.Signal) error
	stop         func() error // stops uspan itself, until it is continued
	fromTerminal func(unix.Signal) bool
	failed       func(error)

	signals chan os.Signal
	closing sync.Once
	quit    chan struct{}
	gone    chan struct{}

	ends      int  // SIGINT and SIGTERM so far
	continued bool // the SIGCONT behind a stop was passed on before it was received
	leave     chan struct{}
}

// NewRelay starts to pass on every signal but those that say something of uspan
// itself (SIGCHLD, SIGPIPE, SIGURG, SIGPROF, SIGXFSZ), those that job control
// sends to the one process that touches the terminal (SIGTTIN, SIGTTOU), and
// those that uspan ignores, and with it the command that it started.
//
// The command must be in uspan's process group. FromTerminal says whether the
// latest signal of a kind came from the terminal, which then gave it to the
// command as well, so that it is not passed on. It is asked about SIGINT,
// SIGQUIT, SIGTSTP, SIGHUP and SIGWINCH. A SIGTSTP from the terminal stops uspan
// beside the command, as a shell expects, until a SIGCONT.
//
// Failed is told of a signal that could not be passed on, and may be nil. Both
// functions are called on the Relay's own goroutine, which ends with Close.
// Call NewRelay behind Start: see there.
func NewRelay(p *Process, fromTerminal func(unix.Signal) bool, failed func(error)) *Relay {
	r := newRelay(p.Signal, stopSelf, fromTerminal, failed)
	signal.Notify(r.signals, relayed(ignored())...)
	go r.run()
	return r
}

func newRelay(send func(unix.Signal) error, stop func() error, fromTerminal func(unix.Signal) bool, failed func(error)) *Relay {
	return &Relay{
		send:         send,
		stop:         stop,
		fromTerminal: fromTerminal,
		failed:       failed,
		// The runtime drops a signal for which there is no room.
		signals: make(chan os.Signal, 128),
		quit:    make(chan struct{}),
		gone:    make(chan struct{}),
		leave:   make(chan struct{}),
	}
}

// Leave is closed at the second SIGINT or SIGTERM, wherever they came from:
// somebody wants uspan gone, now.
func (r *Relay) Leave() <-chan struct{} { return r.leave }

// Close ends the passing on; signals do to uspan what they do by default. Close
// is idempotent.
func (r *Relay) Close() {
	r.closing.Do(func() {
		signal.Stop(r.signals)
		close(r.quit)
		<-r.gone
	})
}

func (r *Relay) run() {
	defer close(r.gone)
	for {
		select {
		case s := <-r.signals:
			if s, ok := s.(syscall.Signal); ok {
				r.pass(s)
			}
		case <-r.quit:
			return
		}
	}
}

func (r *Relay) pass(s unix.Signal) {
	terminal := givenByTerminals(s) && r.fromTerminal(s)
	switch {
	case s == unix.SIGCONT && r.continued:
		r.continued = false
	case !terminal:
		r.report(r.send(s))
	case s == unix.SIGTSTP:
		r.report(r.stop())
		// Of the signals that come at once the runtime tells the lowest first: by the
		// time that it tells of SIGCONT, the terminal may have stopped the command again.
		r.report(r.send(unix.SIGCONT))
		r.continued = true
	}
	if s == unix.SIGINT || s == unix.SIGTERM {
		if r.ends++; r.ends == 2 {
			close(r.leave)
		}
	}
}

// report tells of an error. A command that has ended needs no signals.
func (r *Relay) report(err error) {
	if err != nil && r.failed != nil && !errors.Is(err, ErrNoProcess) {
		r.failed(err)
	}
}

// givenByTerminals says whether the kernel's terminals send a signal to the
// whole foreground process group (drivers/tty/n_tty.c, tty_io.c, tty_jobctrl.c).
func givenByTerminals(s unix.Signal) bool {
	switch s {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGHUP, unix.SIGWINCH:
		return true
	}
	return false
}

// relayed lists the signals that are passed on, without a set of others.
func relayed(without uint64) []os.Signal {
	var all []os.Signal
	for s := unix.Signal(1); s <= 64; s++ {
		switch s {
		case unix.SIGKILL, unix.SIGSTOP, // not to be caught
			unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGPROF, unix.SIGXFSZ,
			unix.SIGTTIN, unix.SIGTTOU,
			32, 33, 34: // the C library's own
			continue
		}
		if without&(1<<(s-1)) == 0 {
			all = append(all, s)
		}
	}
	return all
}

// ignored is the set of signals that uspan ignores, signal n at bit n-1: what
// the kernel says, since signal.Ignored does not know of all inherited ones.
func ignored() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			set, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return set
		}
	}
	return 0
}

// stopSelf stops uspan as SIGTSTP does by default: a shell sees that signal, and
// in an orphaned process group, where nobody would continue it, nothing happens.
//
// signal.Reset does not give SIGTSTP its default action back (sigInstallGoHandler
// in runtime/signal_unix.go), so the kernel is asked. The signal goes to this
// thread: it has acted when the call returns, and the action can be put back.
func stopSelf() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, byDefault sigaction
	if err := rtSigaction(unix.SIGTSTP, nil, &before); err != nil {
		return fmt.Errorf("stop uspan: %w", err)
	}
	if err := rtSigaction(unix.SIGTSTP, &byDefault, nil); err != nil {
		return fmt.Errorf("stop uspan: %w", err)
	}
	err := unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGTSTP)
	return errors.Join(err, rtSigaction(unix.SIGTSTP, &before, nil))
}

// A sigaction holds the kernel's struct sigaction, which nothing here looks
// into; its zero value is SIG_DFL without flags, on all architectures. It is
// larger than any.
type sigaction [16]uint64

func rtSigaction(s unix.Signal, action, before *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s),
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(before)), 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
