package attach

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// manyThreads calls work from eight threads, bound to both processors in turn,
// whenever it reads a line, and prints a line when they are done.
const manyThreads = `
-- go.mod --
module example.com/threads

go 1.21
-- main.go --
package main

import (
	"bufio"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

//go:noinline
func work(n int) int {
	if n == 0 {
		return 1
	}
	return work(n-1) + 1
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var threads, ready sync.WaitGroup
		threads.Add(8)
		ready.Add(8)
		for i := 0; i < 8; i++ {
			go func(i int) {
				defer threads.Done()
				runtime.LockOSThread() // for good: it is this goroutine's thread
				mask := uint64(1) << (i % runtime.NumCPU())
				syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, 8, uintptr(unsafe.Pointer(&mask)))
				ready.Done()
				ready.Wait()
				if work(9) != 10 {
					panic("wrong")
				}
			}(i)
		}
		threads.Wait()
		os.Stdout.WriteString("done\n")
	}
}
`

// worker is a process of manyThreads.
type worker struct {
	*exec.Cmd
	stdin interface{ Write([]byte) (int, error) }
	lines *bufio.Reader
}

func startWorker(t *testing.T, path string) *worker {
	t.Helper()
	w := &worker{Cmd: exec.Command(path)}
	stdin, err := w.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.stdin, w.lines, w.Stderr = stdin, bufio.NewReader(stdout), os.Stderr
	if err := testprog.Start(w.Cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stdin.Close(); err != nil {
			t.Error(err)
		}
		if err := w.Wait(); err != nil {
			t.Errorf("the target: %v", err)
		}
	})
	return w
}

func (w *worker) work(t *testing.T) {
	t.Helper()
	if _, err := w.stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// calledIn counts the calls by process and the threads that made them.
func calledIn(t *testing.T, s *Session) (calls map[int]int, threads map[uint32]bool) {
	t.Helper()
	calls, threads = make(map[int]int), make(map[uint32]bool)
	for {
		record, err := s.Read()
		if errors.Is(err, ErrIdle) {
			return calls, threads
		}
		if err != nil {
			t.Fatal(err)
		}
		if record.Kind == bpf.EventCall {
			calls[int(record.Tgid)]++
			threads[record.Tid] = true
		}
	}
}

// callsPerLine are the calls that a line makes a worker do.
const callsPerLine = 8 * 10

// Probes are in all threads of a process, those to come too, on every processor,
// and in no other process; without a process id, in all processes, those to come too.
func TestThreadsAndProcesses(t *testing.T) { eachWay(t, testThreadsAndProcesses) }

func testThreadsAndProcesses(t *testing.T, options Options) {
	path := testprog.Copy(t, testprog.Build(t, manyThreads, testprog.Options{}))
	file, p := openPlan(t, path, "main.work")
	text := func(w *worker) string { return code(t, w.Process.Pid, p) }

	t.Run("one process", func(t *testing.T) {
		one, other := startWorker(t, path), startWorker(t, path)
		one.work(t)
		s := newSession(t, p, options)
		// Before Linux 6.10 uspan attaches to all processes, and drops their calls.
		alone := !s.multi || filtersProcesses()
		clean := text(other)
		if err := s.Watch(0, one.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Attach(0, file, []int{one.Process.Pid}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			one.work(t)
			other.work(t)
		}
		if text(one) == clean || alone && text(other) != clean {
			t.Error("the probes are not in the one process, or in the other")
		}
		calls, threads := calledIn(t, s)
		if calls[one.Process.Pid] != 3*callsPerLine || len(calls) != 1 || len(threads) != 3*8 {
			t.Errorf("calls by process: %v, of %d threads", calls, len(threads))
		}
		if err := s.Detach(); err != nil {
			t.Fatal(err)
		}
		// Whoever looks at all links of the machine holds each for a moment.
		for deadline := time.Now().Add(10 * time.Second); text(one) != clean && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if text(one) != clean {
			t.Error("probes are left in the process")
		}
	})
	t.Run("all processes", func(t *testing.T) {
		before := startWorker(t, path)
		before.work(t)
		s := newSession(t, p, options)
		if _, err := s.Attach(0, file, nil); err != nil {
			t.Fatal(err)
		}
		after := startWorker(t, path)
		before.work(t)
		after.work(t)
		calls, threads := calledIn(t, s)
		if calls[before.Process.Pid] != callsPerLine || calls[after.Process.Pid] != callsPerLine || len(threads) != 2*8 {
			t.Errorf("calls by process: %v, of %d threads", calls, len(threads))
		}
		if lost, err := s.Lost(); err != nil || lost != (bpf.Counters{}) {
			t.Errorf("lost: %+v, %v", lost, err)
		}
	})
}

// So many processes that each cannot have probes of its own get common ones,
// and only their calls are told of.
func TestManyProcesses(t *testing.T) {
	path := testprog.Copy(t, testprog.Build(t, manyThreads, testprog.Options{}))
	kerneltest.Require(t)
	file, p := openPlan(t, path, "main.work")
	one, other := startWorker(t, path), startWorker(t, path)
	s := newSession(t, p, Options{NoMulti: true})
	if err := s.Watch(0, one.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attach(0, file, slices.Repeat([]int{one.Process.Pid}, maxPerfProbes)); err != nil {
		t.Fatal(err)
	}
	if n := sites(p, []int{0}, false); s.links() != n {
		t.Errorf("there are %d links for %d sites", s.links(), n)
	}
	one.work(t)
	other.work(t)
	if calls, _ := calledIn(t, s); calls[one.Process.Pid] != callsPerLine || len(calls) != 1 {
		t.Errorf("calls by process: %v", calls)
	}
}

// code is what the process has at the sites of a plan's functions.
func code(t *testing.T, pid int, p *plan.Plan) string {
	t.Helper()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	var all bytes.Buffer
	for _, f := range p.Functions {
		for _, site := range append(f.Entries, f.Exits...) {
			have := make([]byte, len(site.Bytes))
			if _, err := memory.ReadAt(have, int64(site.Addr)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "%x ", have)
		}
	}
	return all.String()
}

// More probes than the kernel can be asked for are refused before any is placed,
// with the limit and the way out.
func TestTooManyPerfEvents(t *testing.T) {
	path := testprog.Copy(t, testprog.Build(t, program, testprog.Options{}))
	kerneltest.Require(t)
	file, p := openPlan(t, path, "runtime.*")
	if n := len(p.Functions); n <= maxPerfProbes/2 {
		t.Fatalf("%d functions are too few for this test", n)
	}
	s := newSession(t, p, Options{NoMulti: true})
	_, err := s.Attach(0, file, nil)
	if err == nil || !strings.Contains(err.Error(), "probes are more than the 300 that are allowed here: trace fewer functions (-f)") {
		t.Errorf("Attach: %v", err)
	}
	if len(s.enter)+len(s.leave)+len(s.aside) != 0 {
		t.Error("there are links all the same")
	}

	small, q := openPlan(t, path, "main.first")
	s = newSession(t, q, Options{NoMulti: true})
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	low := before
	low.Cur = 130
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	if _, err := s.Attach(0, small, nil); err == nil || !strings.Contains(err.Error(), "a limit of 130 open files: raise it (ulimit -n 1") {
		t.Errorf("Attach: %v", err)
	}
}

// All links are closed, once each, and those of as many groups as there are closers at
// once: each group waits for the others.
func TestSideBySide(t *testing.T) {
	for _, n := range []int{0, 1, closers - 1, closers, closers + 1, 1000} {
		links := make(probes, n)
		for i := range links {
			links[i] = i
		}
		var together sync.WaitGroup
		together.Add(min(n, closers))
		var mu sync.Mutex
		var closed probes
		failed := errors.New("failed")
		err := sideBySide(links, func(group probes) error {
			together.Done()
			together.Wait()
			mu.Lock()
			defer mu.Unlock()
			closed = append(closed, group...)
			if slices.Contains(group, 3) {
				return failed
			}
			return nil
		})
		slices.Sort(closed)
		if !slices.Equal(closed, links) || errors.Is(err, failed) != (n > 3) {
			t.Errorf("of %d links, %d were closed: %v", n, len(closed), err)
		}
	}
}

// Many probes come and go, and nothing of them is left in the code; with TEST_ALL=1 as
// many as are allowed. How long that takes is logged: uspan says so before.
func TestManyPerfEvents(t *testing.T) {
	path := testprog.Copy(t, testprog.Build(t, program, testprog.Options{}))
	kerneltest.Require(t)
	file, p := openPlan(t, path, "runtime.*")
	most := perfBatch + 10 // more than one batch
	if os.Getenv("TEST_ALL") == "1" {
		most = maxPerfProbes
	}
	sites, functions := 0, p.Functions
	p.Functions = nil
	for _, f := range functions {
		if n := len(f.Entries) + len(f.Exits); sites+n <= most {
			sites += n
			p.Functions = append(p.Functions, f)
		}
	}
	running := start(t, file)
	s := newSession(t, p, Options{NoMulti: true})
	if err := s.Watch(0, running.PID()); err != nil {
		t.Fatal(err)
	}
	original := code(t, running.PID(), p)
	from := time.Now()
	skipped, err := s.Attach(0, file, []int{running.PID()})
	if err != nil {
		t.Fatal(err)
	}
	attached := time.Now()
	if want := time.Duration(sites+len(p.Unwinding)+len(p.GoSites)) * perfRemoval; s.Removal() != want {
		t.Errorf("Removal is %v, not %v", s.Removal(), want)
	}
	if code(t, running.PID(), p) == original {
		t.Error("there are no probes in the code")
	}
	begun := time.Now()
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d probes of %d functions: attached in %v, detached in %v",
		sites, len(p.Functions), attached.Sub(from), time.Since(begun))
	if code(t, running.PID(), p) != original {
		t.Error("there is something left in the code")
	}
	if len(skipped) > 0 {
		t.Errorf("skipped: %v", skipped)
	}
	if err := running.Resume(); err != nil {
		t.Fatal(err)
	}
	if status, err := running.Wait(); err != nil || status.ExitCode() != 0 {
		t.Errorf("the program ended with %v, %v", status, err)
	}
}
