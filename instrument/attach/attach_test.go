package attach

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// program has two functions to trace, and prints what they return.
const program = `
-- go.mod --
module example.com/program

go 1.21
-- main.go --
package main

//go:noinline
func first(n int) int {
	if n == 0 {
		return 1
	}
	return first(n-1) + 1
}

//go:noinline
func second(n int) int {
	if n == 0 {
		return 2
	}
	return second(n-1) + 1
}

func main() {
	if first(3) != 4 || second(3) != 5 {
		panic("wrong")
	}
}
`

// open plans both functions.
func open(t *testing.T) (*os.File, *plan.Plan) {
	t.Helper()
	return openPlan(t, testprog.Copy(t, testprog.Build(t, program, testprog.Options{})), "main.first", "main.second")
}

func openPlan(t *testing.T, path string, patterns ...string) (*os.File, *plan.Plan) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	binary, err := gobin.NewFile(file, "./program")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { binary.Close() })
	p, err := plan.Build(binary, plan.Rules{Patterns: patterns, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	return file, p
}

// eachWay tests with uprobe_multi links, where the kernel has them, and without.
func eachWay(t *testing.T, test func(t *testing.T, options Options)) {
	t.Helper()
	for _, source := range []string{program, manyThreads} {
		testprog.Build(t, source, testprog.Options{})
	}
	kerneltest.Require(t)
	t.Run("perf events", func(t *testing.T) { test(t, Options{NoMulti: true}) })
	if hasMulti() {
		t.Run("uprobe_multi", func(t *testing.T) { test(t, Options{}) })
	}
}

func newSession(t *testing.T, p *plan.Plan, options Options) *Session {
	t.Helper()
	kerneltest.Require(t)
	s, err := NewSession([]*plan.Plan{p}, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Once more than is needed.
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts the program, which waits for calls.
func start(t *testing.T, file *os.File) *target.Process {
	t.Helper()
	p, err := target.Start(target.Command{Path: file.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(); p.Close() })
	return p
}

// calls lets the program run under the session's probes and counts the events.
func calls(t *testing.T, s *Session, p *target.Process) map[uint32]int {
	t.Helper()
	if err := errors.Join(s.Watch(0, p.PID()), p.Resume()); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(); err != nil || status.ExitCode() != 0 {
		t.Fatalf("the program ended with %v, %v", status, err)
	}
	counts := make(map[uint32]int)
	for {
		record, err := s.Read()
		if errors.Is(err, ErrIdle) {
			return counts
		}
		if err != nil {
			t.Fatal(err)
		}
		if record.Kind == bpf.EventCall {
			counts[record.Function]++
		}
	}
}

func TestAttach(t *testing.T) { eachWay(t, testAttach) }

func testAttach(t *testing.T, options Options) {
	file, p := open(t)
	s := newSession(t, p, options)
	skipped, err := s.Attach(0, file, nil)
	if err != nil || len(skipped) != 0 {
		t.Fatalf("Attach = %v, %v", skipped, err)
	}
	if got := calls(t, s, start(t, file)); len(got) != 2 || got[0] != 4 || got[1] != 4 {
		t.Errorf("calls by function: %v", got)
	}
	if lost, err := s.Lost(); err != nil || lost != (bpf.Counters{}) {
		t.Errorf("lost: %+v, %v", lost, err)
	}
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	if got := calls(t, s, start(t, file)); len(got) != 0 {
		t.Errorf("calls after Detach: %v", got)
	}
}

// A function whose code is not what was planned for gets no probe.
func TestOtherBytes(t *testing.T) { eachWay(t, testOtherBytes) }

func testOtherBytes(t *testing.T, options Options) {
	file, p := open(t)
	site := &p.Functions[0].Exits[len(p.Functions[0].Exits)-1]
	want := fmt.Sprintf("is not what was planned for: % x, not 90", site.Bytes[:1])
	site.Bytes = []byte{0x90}
	s := newSession(t, p, options)
	skipped, err := s.Attach(0, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 1 || skipped[0].Name != "main.first" || !strings.Contains(skipped[0].Reason, want) {
		t.Errorf("skipped: %+v", skipped)
	}
	if got := calls(t, s, start(t, file)); len(got) != 1 || got[1] != 4 {
		t.Errorf("calls by function: %v", got)
	}
}

// An executable none of whose functions is what was planned for gets none at all.
func TestOtherFile(t *testing.T) { eachWay(t, testOtherFile) }

func testOtherFile(t *testing.T, options Options) {
	_, p := open(t)
	other, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := newSession(t, p, options)
	skipped, err := s.Attach(0, other, nil)
	if err == nil || !strings.Contains(err.Error(), "attach ./program: no function can be traced: the code at") {
		t.Errorf("Attach: %v", err)
	}
	if len(skipped) != 2 {
		t.Errorf("skipped: %v", skipped)
	}
}

// A site that the kernel refuses takes its own function out, and no other. The
// kernel looks at an instruction when it places the first breakpoint.
func TestRefusedSite(t *testing.T) { eachWay(t, testRefusedSite) }

func testRefusedSite(t *testing.T, options Options) {
	file, p := open(t)
	p.Functions[1].Exits = append(p.Functions[1].Exits, refusedInstruction(t, p.File))
	s := newSession(t, p, options)
	running := start(t, file)
	skipped, err := s.Attach(0, file, []int{running.PID()})
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 1 || skipped[0].Name != "main.second" || !strings.Contains(skipped[0].Reason, "the kernel refuses a probe at file offset") {
		t.Errorf("skipped: %+v", skipped)
	}
	if got := calls(t, s, running); len(got) != 1 || got[0] != 4 {
		t.Errorf("calls by function: %v", got)
	}
}

// refusedInstruction is one that the kernel does not probe: with a LOCK prefix,
// or, on arm64, one that works only together with another.
func refusedInstruction(t *testing.T, f *gobin.File) plan.Site {
	t.Helper()
	functions := f.Functions()
	for i := range functions {
		body, err := f.Body(&functions[i])
		if err != nil {
			continue
		}
		for _, instruction := range body.Instructions {
			if instruction.Refused == "LOCK prefix" || instruction.Refused == "exclusive load or store" {
				offset, _ := f.Offset(instruction.Addr)
				return plan.Site{Addr: instruction.Addr, Offset: offset, Bytes: instruction.Bytes}
			}
		}
	}
	t.Fatal("no instruction of the program is one that the kernel refuses")
	return plan.Site{}
}

func TestNoSuchProcess(t *testing.T) { eachWay(t, testNoSuchProcess) }

func testNoSuchProcess(t *testing.T, options Options) {
	file, p := open(t)
	s := newSession(t, p, options)
	_, err := s.Attach(0, file, []int{1 << 22})
	if everywhere := s.multi && !filtersProcesses(); everywhere {
		if err != nil { // before Linux 6.10, all processes are attached to
			t.Errorf("Attach: %v", err)
		}
		return
	}
	if !errors.Is(err, target.ErrNoProcess) {
		t.Errorf("Attach: %v", err)
	}
}

// Arguments that were kept for a call that never began go with the open calls.
func TestDropKept(t *testing.T) {
	file, p := open(t)
	s := newSession(t, p, Options{})
	if _, err := s.Attach(0, file, nil); err != nil {
		t.Fatal(err)
	}
	var entry []byte
	if err := s.objects.EmptyValues.Lookup(uint32(0), &entry); err != nil {
		t.Fatal(err)
	}
	keys := []bpf.FrameKey{{Tgid: 1, G: 1, Level: bpf.LevelKept}, {Tgid: 2, G: 1, Level: bpf.LevelKept}}
	for _, key := range keys {
		if err := s.objects.Values.Put(key, entry); err != nil {
			t.Fatal(err)
		}
	}
	for n, key := range keys {
		if records, err := s.Open(int(key.Tgid)); err != nil || len(records) != 0 {
			t.Errorf("Open = %v, %v", records, err)
		}
		left := slices.DeleteFunc(slices.Clone(keys), func(key bpf.FrameKey) bool {
			raw, err := s.objects.Values.LookupBytes(key)
			return err != nil || raw == nil
		})
		if !slices.Equal(left, keys[n+1:]) {
			t.Errorf("after process %d: %v", key.Tgid, left)
		}
	}
}

// The calls happen, with what they return, one into the other, and the caller's
// signals are as before.
func TestShielded(t *testing.T) {
	call := func(number uintptr, fd int) (int, error) {
		steps := []step{{number: number, args: [6]uintptr{uintptr(fd)}}}
		if err := shielded(steps); err != nil {
			t.Fatal(err)
		}
		if errno := steps[0].answer.errno; errno != 0 {
			return 0, errno
		}
		return int(steps[0].answer.value), nil
	}
	fd, err := call(unix.SYS_DUP, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor that the other process made: %v", err)
	}
	if _, err := call(unix.SYS_CLOSE, fd); err != nil {
		t.Error(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("a descriptor that the other process closed: %v", err)
	}
	if _, err := call(unix.SYS_CLOSE, fd); !errors.Is(err, unix.EBADF) {
		t.Errorf("close of a closed descriptor: %v", err)
	}

	var made uint32
	steps := make([]step, 1000)
	for i := range steps {
		steps[i] = step{number: unix.SYS_CLOSE, args: [6]uintptr{1 << 20}}
	}
	steps[500] = step{number: unix.SYS_DUP, into: &made}
	if err := shielded(steps); err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		if ok := s.answer.errno == 0; ok != (i == 500) || !s.answer.given {
			t.Errorf("step %d: %+v", i, s.answer)
		}
	}
	if made != 0 {
		t.Errorf("the copy's memory is uspan's: %d", made)
	}
	if err := (probes{int(steps[500].answer.value)}).Close(); err != nil {
		t.Error(err)
	}
	var status unix.WaitStatus
	if pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}
