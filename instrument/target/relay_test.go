package target

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRelayRules(t *testing.T) {
	const stopped = unix.Signal(0) // stands for a stop of uspan in what happened
	terminal := func(unix.Signal) bool { return true }
	other := func(unix.Signal) bool { return false }
	tests := []struct {
		name  string
		from  func(unix.Signal) bool
		got   []unix.Signal
		want  []unix.Signal
		leave bool
	}{
		{"terminal", terminal,
			[]unix.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGWINCH}, nil, false},
		{"terminal stop", terminal,
			[]unix.Signal{unix.SIGTSTP, unix.SIGCONT}, []unix.Signal{stopped, unix.SIGCONT}, false},
		{"told late that it goes on", terminal,
			[]unix.Signal{unix.SIGTSTP, unix.SIGUSR1, unix.SIGCONT, unix.SIGCONT},
			[]unix.Signal{stopped, unix.SIGCONT, unix.SIGUSR1, unix.SIGCONT}, false},
		{"others", other,
			[]unix.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGWINCH, unix.SIGTSTP, unix.SIGUSR1, 40},
			[]unix.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGWINCH, unix.SIGTSTP, unix.SIGUSR1, 40}, false},
		{"not a terminal's", terminal,
			[]unix.Signal{unix.SIGTERM, unix.SIGUSR1}, []unix.Signal{unix.SIGTERM, unix.SIGUSR1}, false},
		{"second of the terminal", terminal,
			[]unix.Signal{unix.SIGINT, unix.SIGINT}, nil, true},
		{"second", other,
			[]unix.Signal{unix.SIGTERM, unix.SIGTERM, unix.SIGTERM}, []unix.Signal{unix.SIGTERM, unix.SIGTERM, unix.SIGTERM}, true},
		{"one of each", terminal,
			[]unix.Signal{unix.SIGINT, unix.SIGTERM}, []unix.Signal{unix.SIGTERM}, true},
	}
	for _, test := range tests {
		var happened []unix.Signal
		r := newRelay(
			func(s unix.Signal) error { happened = append(happened, s); return nil },
			func() error { happened = append(happened, stopped); return nil },
			test.from, nil)
		for _, s := range test.got {
			r.pass(s)
		}
		if !slices.Equal(happened, test.want) {
			t.Errorf("%s: %v; want %v", test.name, happened, test.want)
		}
		if leave := !open(r.Leave()); leave != test.leave {
			t.Errorf("%s: leave is %v", test.name, leave)
		}
	}
}

func open(c <-chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}

func TestRelayReportsFailures(t *testing.T) {
	var told []error
	failure := error(unix.EPERM)
	r := newRelay(func(unix.Signal) error { return failure }, nil, nil, func(err error) { told = append(told, err) })
	r.pass(unix.SIGUSR1)
	failure = fmt.Errorf("send: %w", ErrNoProcess)
	r.pass(unix.SIGUSR1)
	if len(told) != 1 || !errors.Is(told[0], unix.EPERM) {
		t.Errorf("told of %v", told)
	}
}

func TestRelayedSignals(t *testing.T) {
	all := relayed(1 << (unix.SIGHUP - 1))
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGTSTP, unix.SIGCONT, unix.SIGUSR1, unix.SIGWINCH, 64} {
		if !slices.Contains(all, os.Signal(s)) {
			t.Errorf("%v is not passed on", s)
		}
	}
	for _, s := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU, unix.SIGHUP} {
		if slices.Contains(all, os.Signal(s)) {
			t.Errorf("%v is passed on", s)
		}
	}
}

// A session is a terminal with a shell in it (playShell), whose foreground job is
// a relay (playRelay) and the command that it started (playListener). What the
// three say comes as lines.
type session struct {
	t        *testing.T
	keyboard *os.File
	shell    *os.File // commands for the shell
	lines    chan string
	relay    int
	command  int
}

func newSession(t *testing.T, fromTerminal bool) *session {
	t.Helper()
	master, slave := openTerminal(t)
	out, sink := pipe(t)
	orders, shell := pipe(t)
	command := exec.Command("/proc/self/exe")
	command.Env = append(as("shell"), fmt.Sprintf("FROM_TERMINAL=%v", fromTerminal))
	command.Stdin, command.Stdout, command.Stderr = slave, sink, os.Stderr
	command.ExtraFiles = []*os.File{orders}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	sink.Close()
	orders.Close()
	slave.Close()
	s := &session{t: t, keyboard: master, shell: shell, lines: make(chan string)}
	t.Cleanup(func() {
		command.Process.Kill()
		if s.relay != 0 {
			unix.Kill(-s.relay, unix.SIGKILL)
		}
		command.Wait()
		for range s.lines { // ends when all three have
		}
	})
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	s.relay = s.number("relay ")
	s.command = s.number("command ")
	s.expect("listening")
	return s
}

func (s *session) next() string {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.t.Fatal("the session has ended")
		}
		return line
	case <-time.After(30 * time.Second):
		s.t.Fatal("the session is silent for 30 s")
	}
	return ""
}

func (s *session) number(prefix string) int {
	s.t.Helper()
	line := s.next()
	n, err := strconv.Atoi(strings.TrimPrefix(line, prefix))
	if err != nil {
		s.t.Fatalf("the session said %q, not %q and a number", line, prefix)
	}
	return n
}

// expect waits for lines, in any order.
func (s *session) expect(want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		got = append(got, s.next())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !reflect.DeepEqual(got, want) {
		s.t.Fatalf("the session said %q; want %q", got, want)
	}
}

// settled proves that no other line is on its way: USR1 takes the same road.
func (s *session) settled() {
	s.t.Helper()
	s.kill(s.relay, unix.SIGUSR1)
	s.expect("SIGUSR1")
}

func (s *session) press(key byte) {
	s.t.Helper()
	if _, err := s.keyboard.Write([]byte{key}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) kill(pid int, signal unix.Signal) {
	s.t.Helper()
	if err := unix.Kill(pid, signal); err != nil {
		s.t.Fatal(err)
	}
}

// openTerminal opens a pseudo terminal (pts(4)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, uintptr(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC))
	if errno != 0 {
		t.Fatal(errno)
	}
	slave = os.NewFile(peer, "terminal")
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

const (
	controlC         = 'C' - '@'
	controlZ         = 'Z' - '@'
	controlBackslash = '\\' - '@'
)

func TestKeyboard(t *testing.T) {
	s := newSession(t, true)
	s.press(controlBackslash)
	s.expect("SIGQUIT")
	s.settled()
	if err := unix.IoctlSetWinsize(int(s.keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 20}); err != nil {
		t.Fatal(err)
	}
	s.expect("SIGWINCH")
	s.settled()
	s.press(controlC)
	s.expect("SIGINT")
	s.settled()
	s.press(controlC)
	s.expect("SIGINT", "leave", "relay exited 7")
	s.kill(s.command, unix.SIGUSR1)
	s.expect("SIGUSR1") // the command goes on
}

func TestKeyboardStop(t *testing.T) {
	s := newSession(t, true)
	for range 3 {
		s.press(controlZ)
		s.expect("relay stopped by SIGTSTP")
		for _, pid := range []int{s.relay, s.command} {
			awaitState(t, pid, 'T')
		}
		if _, err := s.shell.WriteString("fg\n"); err != nil {
			t.Fatal(err)
		}
		// The shell continues the whole job, and the relay passes it on again.
		s.expect("relay continued")
		s.settled()
	}
	s.press(controlC)
	s.expect("SIGINT")
}

// awaitState waits until a process is in a state: nobody is told of a stop but
// its parent.
func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for stateOf(t, pid) != state {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is in state %c, not %c", pid, stateOf(t, pid), state)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestKilledRelay(t *testing.T) {
	s := newSession(t, false)
	for _, signal := range []unix.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH, unix.SIGUSR2, unix.SIGALRM, 40} {
		s.kill(s.relay, signal)
		s.expect(signalName(signal))
	}
	s.kill(s.relay, unix.SIGTSTP)
	awaitState(t, s.command, 'T')
	s.kill(s.relay, unix.SIGCONT)
	s.settled() // and the relay did not stop
	s.kill(s.relay, unix.SIGINT)
	s.expect("SIGINT")
	s.settled()
	s.kill(s.relay, unix.SIGTERM)
	s.expect("SIGTERM", "leave", "relay exited 7")
}

// playShell is the part of a shell: it starts a job in the foreground, says what
// becomes of it, and continues it when told to.
func playShell() {
	signal.Ignore(unix.SIGTTOU)
	orders := bufio.NewReader(os.NewFile(3, "orders"))
	job := exec.Command("/proc/self/exe")
	job.Env = as("relay")
	job.Stdin, job.Stdout, job.Stderr = os.Stdin, os.Stdout, os.Stderr
	job.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	if err := job.Start(); err != nil {
		panic(err)
	}
	pid := job.Process.Pid
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WUNTRACED|unix.WCONTINUED, nil); err == unix.EINTR {
			continue
		} else if err != nil {
			panic(err)
		}
		switch {
		case status.Stopped():
			fmt.Println("relay stopped by " + signalName(status.StopSignal()))
			if line, err := orders.ReadString('\n'); err != nil || line != "fg\n" {
				panic(line)
			}
			unix.Kill(-pid, unix.SIGCONT)
		case status.Continued():
			fmt.Println("relay continued")
		case status.Exited():
			fmt.Println("relay exited", status.ExitStatus())
			select {}
		default:
			fmt.Println("relay died of " + signalName(status.Signal()))
			select {}
		}
	}
}

// playRelay is the part of uspan.
func playRelay() {
	fmt.Println("relay", os.Getpid())
	p, err := Start(Command{Path: "/proc/self/exe", Env: as("listener")})
	if err != nil {
		panic(err)
	}
	fmt.Println("command", p.PID())
	r := NewRelay(p,
		func(unix.Signal) bool { return os.Getenv("FROM_TERMINAL") == "true" },
		func(err error) { fmt.Println(err) })
	if err := p.Resume(); err != nil {
		panic(err)
	}
	select {
	case <-p.Done():
		fmt.Println("ended")
	case <-r.Leave():
		fmt.Println("leave")
		r.Close()
		r.Close()
		os.Exit(7)
	}
}

// playListener is the part of a command that says what signals it gets.
func playListener() {
	signals := make(chan os.Signal, 100)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.Signal(40))
	fmt.Println("listening")
	for s := range signals {
		fmt.Println(signalName(s.(unix.Signal)))
	}
}
