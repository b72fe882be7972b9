package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument"
)

// statusPatience bounds how long a uspan may take to say how it is.
const statusPatience = 2 * time.Second

// statusBytes bounds what it may say.
const statusBytes = 64 << 10

// statusPrefix begins the names of the sockets that uspans answer on: abstract
// ones, which need no file system that can be written to, and which everybody finds
// in the same network namespace.
const statusPrefix = "@uspan/"

// A status is what a uspan says of itself.
type status struct {
	instrument.Status
	// Lost are all calls and spans that came to no output.
	Lost uint64
	// Away are the outputs that cannot be reached, each with the reason.
	Away []string
	// Error is why there is no Status.
	Error string
}

func newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [PID...]",
		Short: "Tell how each uspan is that traces here",
		Example: `  sudo uspan status           # all of this machine, or of this container
  sudo uspan status 4242      # one of them, by its process id`,
		Long: `Asks every uspan of the same network namespace, a machine's or a container's, that
makes spans (run, attach): what it traces, and what became of the spans. Ends with 0
where each of them reads events, traces what runs by the paths that it was given, and
reaches its outputs, as far as it has tried, and with 1 where one does not, or there is
none: a container's health check.`,
		RunE: func(_ *cobra.Command, args []string) error {
			pids, err := processIDs(args)
			if err != nil {
				return err
			}
			return tellStatus(os.Stdout, pids)
		},
	}
}

func processIDs(args []string) ([]int, error) {
	var pids []int
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil || pid <= 0 {
			return nil, usageError{fmt.Errorf("%q is no process id", arg)}
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// tellStatus writes how the uspans with these process ids are, or all without.
func tellStatus(out io.Writer, pids []int) error {
	names, err := statusSockets()
	if err != nil {
		return err
	}
	well := true
	var found []int
	for _, name := range names {
		pid, s, err := askStatus(name)
		switch {
		case errors.Is(err, unix.ECONNREFUSED): // it has ended meanwhile
			continue
		case len(pids) > 0 && !slices.Contains(pids, pid):
			continue
		case err != nil:
			s.Error = err.Error()
		}
		found = append(found, pid)
		well = well && s.Error == "" && len(s.Away)+len(s.Unwatched) == 0
		if _, err := io.WriteString(out, s.lines(pid)); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		if !slices.Contains(found, pid) {
			return fmt.Errorf("process %d is no uspan that traces here", pid)
		}
	}
	switch {
	case len(found) == 0:
		return errors.New("no uspan traces here (it is looked for in this network namespace)")
	case !well:
		return statusError(exitFailed)
	}
	return nil
}

// lines are what a person reads of a status.
func (s status) lines(pid int) string {
	who := "uspan"
	if pid > 0 { // else it is in no PID namespace that this one sees
		who += " " + strconv.Itoa(pid)
	}
	if s.Error != "" {
		return fmt.Sprintf("%s: %s\n", who, printable(s.Error))
	}
	text := fmt.Sprintf("%s: functions %d, processes %d, spans %d, lost %d\n", who, s.Functions, s.Processes, s.Summary.Spans, s.Lost)
	for _, wrong := range slices.Concat(s.Unwatched, s.Away) {
		text += fmt.Sprintf("%s: %s\n", who, printable(wrong))
	}
	return text
}

// printable is a text without what a terminal would take for commands: anybody may
// have made the socket that it came from.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// statusSockets are the names of the sockets that uspans answer on.
func statusSockets() ([]string, error) {
	text, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if name := fields[len(fields)-1]; strings.HasPrefix(name, statusPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil // a connection has the name, too
}

// askStatus asks the uspan behind a socket. Its process id is 0 where this process
// cannot see it.
func askStatus(name string) (pid int, s status, err error) {
	conn, err := net.DialTimeout("unix", name, statusPatience)
	if err != nil {
		return 0, s, err
	}
	defer conn.Close()
	peer, err := peerOf(conn.(*net.UnixConn))
	if err != nil {
		return 0, s, err
	}
	pid = int(peer.Pid)
	if err := conn.SetDeadline(time.Now().Add(2 * statusPatience)); err != nil {
		return pid, s, err
	}
	switch err := json.NewDecoder(io.LimitReader(conn, statusBytes)).Decode(&s); {
	case errors.Is(err, io.EOF):
		return pid, s, errors.New("it is another user's: ask as root")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return pid, s, errors.New("it does not answer")
	case err != nil:
		return pid, s, err
	}
	return pid, s, nil
}

// answerStatus answers `uspan status` until what it returns is closed. That it
// cannot is no reason not to trace.
func answerStatus(trace *instrument.Trace, o *outputs, f *flags) io.Closer {
	listener, err := net.Listen("unix", statusPrefix+rand.Text())
	if err != nil {
		f.log(fmt.Sprintf("'uspan status' will not see this one: %v", err))
		return io.NopCloser(nil)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(statusPatience) // there are no more file descriptors
				continue
			}
			if mayAsk(conn.(*net.UnixConn)) {
				_ = conn.SetDeadline(time.Now().Add(2 * statusPatience))
				_ = json.NewEncoder(conn).Encode(statusOf(trace, o)) // whoever asked may have gone
			}
			_ = conn.Close()
		}
	}()
	return listener
}

// mayAsk says whether the other side is root, or the same user.
func mayAsk(conn *net.UnixConn) bool {
	peer, err := peerOf(conn)
	return err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
}

func statusOf(trace *instrument.Trace, o *outputs) (s status) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), statusPatience, errors.New("it does not read events"))
	defer cancel()
	var err error
	if s.Status, err = trace.Status(ctx); err != nil {
		s.Error = err.Error()
	}
	s.Lost = s.Summary.LostSpans() + o.lost()
	s.Away = o.away()
	return s
}

// peerOf says who is at the other end of a connection, its process id in the PID
// namespace of this process.
func peerOf(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	control := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return peer, errors.Join(control, err)
}
