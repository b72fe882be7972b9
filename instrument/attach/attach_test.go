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
	file, err := os.Open(testprog.Build(t, program, testprog.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	binary, err := gobin.NewFile(file, "./program")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { binary.Close() })
	p, err := plan.Build(binary, plan.Rules{Patterns: []string{"main.first", "main.second"}, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	return file, p
}

func newSession(t *testing.T, p *plan.Plan) *Session {
	t.Helper()
	return newSessionOf(t, p, Options{})
}

func newSessionOf(t *testing.T, p *plan.Plan, options Options) *Session {
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
	if err := errors.Join(s.Watch(p.PID()), p.Resume()); err != nil {
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

func TestAttach(t *testing.T) {
	file, p := open(t)
	s := newSession(t, p)
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
func TestOtherBytes(t *testing.T) {
	file, p := open(t)
	site := &p.Functions[0].Exits[len(p.Functions[0].Exits)-1]
	want := fmt.Sprintf("is not what was planned for: % x, not 90", site.Bytes[:1])
	site.Bytes = []byte{0x90}
	s := newSession(t, p)
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
func TestOtherFile(t *testing.T) {
	_, p := open(t)
	other, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := newSession(t, p)
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
func TestRefusedSite(t *testing.T) {
	file, p := open(t)
	p.Functions[1].Exits = append(p.Functions[1].Exits, refusedInstruction(t, p.File))
	s := newSession(t, p)
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

func TestNoSuchProcess(t *testing.T) {
	file, p := open(t)
	s := newSession(t, p)
	if !filtersProcesses() {
		t.Skip("this kernel is older than Linux 6.10")
	}
	if _, err := s.Attach(0, file, []int{1 << 22}); !errors.Is(err, target.ErrNoProcess) {
		t.Errorf("Attach: %v", err)
	}
}

// Arguments that were kept for a call that never began go with the open calls.
func TestDropKept(t *testing.T) {
	file, p := open(t)
	s := newSession(t, p)
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

// The call happens, with what it returns, and the caller's signals are as before.
func TestShielded(t *testing.T) {
	fd, err := shielded(unix.SYS_DUP, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor that the other process made: %v", err)
	}
	if _, err := shielded(unix.SYS_CLOSE, fd, 0, 0); err != nil {
		t.Error(err)
	}
	if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("a descriptor that the other process closed: %v", err)
	}
	if _, err := shielded(unix.SYS_CLOSE, fd, 0, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("close of a closed descriptor: %v", err)
	}
	var status unix.WaitStatus
	if pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}
