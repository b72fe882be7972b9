package instrument_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/kerneltest"
)

// In a PID namespace that is not the kernel's first, uspan traces the processes that it
// sees there, those of a namespace below among them, and no other. What the kernel side
// reads for that has another layout in each release of Linux.
func TestInPIDNamespace(t *testing.T) {
	const inside = "TEST_INSIDE" // the executable, for the test in the namespace
	if exe := os.Getenv(inside); exe != "" {
		testInPIDNamespace(t, exe)
		return
	}
	exe := build(t, "counting")
	kerneltest.Require(t)
	outside := startBusy(t, exe)
	again := exec.Command("/proc/self/exe", "-test.run=^TestInPIDNamespace$", "-test.v")
	again.Env = append(os.Environ(), inside+"="+exe)
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestInPIDNamespace (") {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	outside.finish(t)
}

func testInPIDNamespace(t *testing.T, exe string) {
	if pid := os.Getpid(); pid != 1 {
		t.Fatalf("the process id is %d", pid)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Run("run", func(t *testing.T) { testCounting(t, exe, nil, "-goroutines=100") })
	t.Run("attach", func(t *testing.T) {
		var spans collector
		running, err := instrument.Start(config(t, &spans, exe))
		if err != nil {
			t.Fatal(err)
		}
		defer running.Close()
		here, below := exec.Command(exe, "-goroutines=100"), exec.Command(exe, "-goroutines=100")
		below.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error)
		go func() {
			summary, err := running.Run(ctx)
			if err == nil && (summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0) {
				t.Errorf("lost: %+v", summary)
			}
			done <- err
		}()
		printed := make(map[*exec.Cmd]*bytes.Buffer)
		for _, command := range []*exec.Cmd{here, below} {
			printed[command] = new(bytes.Buffer)
			command.Stdout, command.Stderr = printed[command], os.Stderr
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
		}
		for _, command := range []*exec.Cmd{here, below} {
			if err := command.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for command, own := range map[*exec.Cmd]int{here: here.Process.Pid, below: 1} {
			attribute := span.Attribute{Key: "process.pid", Value: int64(own)}
			var its []*span.Span
			spans.spans = slices.DeleteFunc(spans.spans, func(s *span.Span) bool {
				if s.Resource.PID != command.Process.Pid {
					return false
				}
				its = append(its, s)
				return true
			})
			compare(t, its, printed[command].Bytes())
			if len(its) > 0 && !slices.ContainsFunc(its[0].Resource.Attributes, func(a span.Attribute) bool {
				return a == attribute
			}) {
				t.Errorf("%d is %v, which is %d for itself", command.Process.Pid, its[0].Resource.Attributes, own)
			}
		}
		for _, s := range spans.spans {
			t.Fatalf("a call of process %d was traced", s.Resource.PID)
		}
	})
}
