package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bpftraceTimeout bounds how long bpftrace may take to attach, and to end.
const bpftraceTimeout = 20 * time.Second

// bpftrace is that program, counting how often the first instruction is hit.
type bpftrace struct {
	nothing
	cmd    *exec.Cmd
	output output
	ended  chan error
	before uint64 // hits until it was known to be attached
}

// output is what a command has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func attachBpftrace(t *target) (tracer, error) {
	path, err := exec.LookPath("bpftrace")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errMissing
	}
	if err != nil {
		return nil, err
	}
	b := &bpftrace{ended: make(chan error, 1)}
	b.cmd = exec.Command(path, "-B", "line", "-e",
		fmt.Sprintf("uprobe:%s:%s { @hits = count(); }", t.path, t.function))
	b.cmd.Stdout, b.cmd.Stderr = &b.output, &b.output
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { b.ended <- b.cmd.Wait() }()
	if err := b.ready(t); err != nil {
		return nil, errors.Join(err, b.end())
	}
	return b, nil
}

// ready waits until hits are counted. bpftrace does not say when its probes are
// attached, so the target makes calls until some have been counted.
func (b *bpftrace) ready(t *target) error {
	for until := time.Now().Add(bpftraceTimeout); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-b.ended:
			b.ended <- err
			return fmt.Errorf("bpftrace ended: %w: %s", err, &b.output)
		default:
		}
		// It handles signals from the moment on when it says that it attaches.
		if !strings.Contains(b.output.String(), "Attach") {
			continue
		}
		if _, _, err := t.round(time.Nanosecond); err != nil {
			return err
		}
		b.before = b.hits()
		if b.before > 0 {
			return nil
		}
	}
	return fmt.Errorf("bpftrace counts nothing: %s", &b.output)
}

// hits asks bpftrace to print its maps (SIGUSR1), and waits for that a little:
// an empty one is not printed.
func (b *bpftrace) hits() uint64 {
	printed := len(b.output.String())
	if err := b.cmd.Process.Signal(unix.SIGUSR1); err != nil {
		return 0 // ready will see that it has ended
	}
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if n, ok := lastHits(b.output.String()[printed:]); ok {
			return n
		}
	}
	return 0
}

var hitsLine = regexp.MustCompile(`(?m)^@hits: (\d+)$`)

// lastHits is the number that was printed last.
func lastHits(text string) (uint64, bool) {
	all := hitsLine.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(all[len(all)-1][1], 10, 64)
	return n, err == nil
}

// end makes bpftrace detach, print its maps and end, and waits for that.
func (b *bpftrace) end() error {
	_ = b.cmd.Process.Signal(os.Interrupt) // fails when it has ended
	select {
	case err := <-b.ended:
		return err
	case <-time.After(bpftraceTimeout):
		return errors.Join(errors.New("bpftrace did not end"), b.cmd.Process.Kill(), <-b.ended)
	}
}

func (b *bpftrace) Close() (tally, error) {
	if err := b.end(); err != nil {
		return tally{}, fmt.Errorf("bpftrace: %w: %s", err, &b.output)
	}
	hits, ok := lastHits(b.output.String())
	if !ok {
		return tally{}, fmt.Errorf("bpftrace printed no count: %s", &b.output)
	}
	return tally{known: true, seen: hits - b.before}, nil
}
