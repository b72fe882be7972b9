package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/jaegertest"
	"github.com/uspan/uspan/internal/testprog"
)

// workerSource is a program that makes as many calls as it is told, and says so
// when they are made; or one that never ends ("stay"); or executes another file.
// Main.version tells builds of it apart.
const workerSource = `
-- go.mod --
module worker

go 1.21
-- main.go --
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

var version = "one"

// The first thread is main's, so that it is another that executes.
func init() { runtime.LockOSThread() }

//go:noinline
func work(worker string, n int) int {
	if n < 0 {
		fmt.Println("made stay")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	return len(worker) + n
}

func main() {
	worker := os.Getenv("WORKER")
	fmt.Println("ready", version)
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		if input.Text() == "stay" {
			work(worker, -1)
		}
		if path, ok := strings.CutPrefix(input.Text(), "exec "); ok {
			go func() { panic(syscall.Exec(path, os.Args, os.Environ())) }()
			select {}
		}
		calls, err := strconv.Atoi(input.Text())
		if err != nil {
			panic(err)
		}
		for i := 0; i < calls; i++ {
			work(worker, i)
		}
		fmt.Println("made", calls)
	}
}
`

func buildWorker(t *testing.T, flags ...string) string {
	return testprog.Build(t, workerSource, testprog.Options{Flags: flags})
}

// A worker is a running process of workerSource, or what started it.
type worker struct {
	*exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
}

// startWorker runs a command that becomes a worker, or starts one with its own
// standard streams. WORKER in its environment, and the name of its service, are
// name. It ends with its input.
func startWorker(t *testing.T, name string, cmd *exec.Cmd) *worker {
	t.Helper()
	w := &worker{Cmd: cmd}
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "WORKER="+name, "OTEL_SERVICE_NAME="+name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var err error
	if w.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.lines = bufio.NewReader(out)
	t.Cleanup(func() { w.end(); cmd.Wait() })
	if line, err := w.lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		cmd.Wait()
		t.Fatalf("%s: %q, %v\n%s", cmd, line, err, &stderr)
	}
	return w
}

// work makes calls.
func (w *worker) work(t *testing.T, calls int) {
	t.Helper()
	w.tell(t, strconv.Itoa(calls), fmt.Sprintf("made %d", calls))
}

// stay makes a call that does not end.
func (w *worker) stay(t *testing.T) {
	t.Helper()
	w.tell(t, "stay", "made stay")
}

func (w *worker) tell(t *testing.T, what, answer string) {
	t.Helper()
	if _, err := fmt.Fprintln(w.stdin, what); err != nil {
		t.Fatal(err)
	}
	if line, err := w.lines.ReadString('\n'); err != nil || line != answer+"\n" {
		t.Fatalf("the worker answers %q to %q, %v", line, what, err)
	}
}

// end lets the worker end.
func (w *worker) end() { w.stdin.Close() }

// A tracer is a uspan that runs in the background of a test.
type tracer struct {
	*exec.Cmd
	file   string
	stderr syncBuffer
	wait   func() error
}

// syncBuffer is written and read at once.
type syncBuffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

// startTracer runs uspan, as the last of some commands, on main.work, and waits
// until it traces. What it says is in file.
func startTracer(t *testing.T, command []string, targets ...string) *tracer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "spans.json")
	args := append(command[1:], "attach", "-f", "main.work", "-o", "json="+file)
	return start(t, file, exec.Command(command[0], append(args, targets...)...))
}

// start runs a command that is a uspan, or starts one, and waits until it traces.
func start(t *testing.T, file string, cmd *exec.Cmd) *tracer {
	t.Helper()
	u := &tracer{Cmd: cmd, file: file}
	u.Stderr = &u.stderr
	u.WaitDelay = 10 * time.Second
	u.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=20")
	if err := u.Start(); err != nil {
		t.Fatal(err)
	}
	u.wait = sync.OnceValue(u.Wait)
	t.Cleanup(func() { syscall.Kill(leaf(u.Process.Pid), syscall.SIGKILL); u.wait() })
	ended := make(chan struct{})
	go func() { u.wait(); close(ended) }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if strings.Contains(u.stderr.String(), "uspan: tracing ") {
			return u
		}
		select {
		case <-ended:
			t.Fatalf("%s: %v\n%s", u, u.wait(), &u.stderr)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not trace:\n%s", u, &u.stderr)
		}
	}
}

// leaf is the process that commands such as unshare, nsenter and uspan have started
// in the end, each as its only child, whichever of its threads did.
func leaf(pid int) int {
	for {
		var children []byte
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			children = append(children, text...)
		}
		child, err := strconv.Atoi(string(bytes.TrimSpace(children)))
		if err != nil {
			return pid
		}
		pid = child
	}
}

// ownID is the process id that a worker has in the innermost of its PID namespaces.
func (w *worker) ownID(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", leaf(w.Process.Pid)))
	if err != nil {
		t.Fatal(err)
	}
	_, ids, _ := strings.Cut(string(status), "\nNSpid:")
	ids, _, _ = strings.Cut(ids, "\n")
	all := strings.Fields(ids)
	id, err := strconv.ParseInt(all[len(all)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// tellsOf waits until uspan has told of calls of a worker.
func (u *tracer) tellsOf(t *testing.T, name string) {
	t.Helper()
	for range 6000 {
		if text, _ := os.ReadFile(u.file); strings.Contains(string(text), strconv.Quote(name)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("uspan does not tell of worker %s:\n%s", name, &u.stderr)
}

// says fails the test unless uspan has written a text by now.
func (u *tracer) says(t *testing.T, text string) {
	t.Helper()
	if !regexp.MustCompile(text).MatchString(u.stderr.String()) {
		t.Errorf("uspan does not say %q, but:\n%s", text, &u.stderr)
	}
}

// finish interrupts uspan, which has to have lost nothing, and returns its spans.
func (u *tracer) finish(t *testing.T) []jaegertest.Span {
	t.Helper()
	return u.finishWith(t, 0)
}

// finishWith is finish where so many calls have never ended.
func (u *tracer) finishWith(t *testing.T, open int) []jaegertest.Span {
	t.Helper()
	if err := syscall.Kill(leaf(u.Process.Pid), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := u.wait(); err != nil {
		t.Fatalf("%s: %v\n%s", u, err, &u.stderr)
	}
	u.says(t, fmt.Sprintf(` spans, 0 lost, %d still open`, open))
	return readSpans(t, u.file)
}

// checkCalls compares the calls that spans tell of with those that each worker
// made, no two of which are alike, and returns the resource of each worker.
func checkCalls(t *testing.T, spans []jaegertest.Span, want map[string]int) map[string]map[string]any {
	t.Helper()
	seen := make(map[string]map[any]bool)
	resources := make(map[string]map[string]any)
	for _, s := range spans {
		name, _ := s.Tags["uspan.arg.worker"].(string)
		if s.Name != "main.work" || s.Process["service.name"] != name {
			t.Fatalf("a span %s of worker %q has the resource %v", s.Name, name, s.Process)
		}
		if seen[name] == nil {
			seen[name] = make(map[any]bool)
			resources[name] = s.Process
		}
		n := s.Tags["uspan.arg.n"]
		if seen[name][n] {
			t.Fatalf("worker %s: call %v has two spans", name, n)
		}
		seen[name][n] = true
	}
	for name, calls := range want {
		if len(seen[name]) != calls {
			t.Errorf("worker %s: %d spans, %d calls", name, len(seen[name]), calls)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("spans of %d workers, want %v", len(seen), want)
	}
	return resources
}

// checkResource compares some attributes of a resource.
func checkResource(t *testing.T, resource, want map[string]any) {
	t.Helper()
	for key, value := range want {
		if resource[key] != value {
			t.Errorf("%s is %v, want %v", key, resource[key], value)
		}
	}
}
