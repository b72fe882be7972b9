package instrument_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// lives does what its argument says, in main.hold or beside it.
const lives = `
-- go.mod --
module example.com/lives

go 1.18
-- main.go --
package main

import (
	"os"
	"syscall"
)

//go:noinline
func hold(f func()) { f() }

//go:noinline
func step(n int) int { return side(n) + 1 }

//go:noinline
func side(n int) int { return n }

func wait() { os.Stdin.Read(make([]byte, 1)) }

func main() {
	self, _ := os.Executable()
	switch os.Args[1] {
	case "exit":
		hold(func() { os.Exit(3) })
	case "other":
		for i := 0; i < 5; i++ {
			step(i)
		}
		syscall.Exec(os.Args[2], []string{"other", os.Args[3]}, []string{"OTEL_SERVICE_NAME=after"})
	case "itself":
		for i := 0; i < 5; i++ {
			step(i)
		}
		syscall.Exec(self, []string{self, os.Args[3]}, []string{"OTEL_SERVICE_NAME=after"})
	case "wait":
		wait()
	case "wait and execute":
		wait()
		syscall.Exec(os.Args[2], []string{"other", "wait"}, nil)
	case "open":
		hold(func() { os.Stdout.WriteString("open\n"); wait() })
	case "hold and execute":
		hold(func() { os.Stdout.WriteString("open\n"); wait(); syscall.Exec(os.Args[2], []string{"other", "nothing"}, nil) })
	}
}
`

var ofLives = plan.Rules{Patterns: []string{"main.step", "main.hold"}}

// livesOf builds the program, and another file that does the same.
func livesOf(t *testing.T) (exe, other string) {
	t.Helper()
	exe = testprog.Build(t, lives, testprog.Options{})
	other = testprog.Build(t, lives, testprog.Options{Strip: true})
	kerneltest.Require(t)
	return exe, other
}

// play starts the program, and waits until it says that a call is open.
func play(t *testing.T, exe string, args ...string) (*exec.Cmd, io.Closer) {
	t.Helper()
	command := exec.Command(exe, args...)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := testprog.Start(command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	if args[0] == "open" || args[0] == "hold and execute" {
		if _, err := stdout.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	return command, stdin
}

func livesConfig(t *testing.T, spans *collector, targets ...string) instrument.Config {
	return instrument.Config{
		Targets: targets, Rules: ofLives, Outputs: []instrument.Output{spans},
		Say: func(message string) { t.Log(message) }, Log: func(string) {},
	}
}

// runFor runs a trace for a time.
func runFor(t *testing.T, running *instrument.Trace, d time.Duration) *instrument.Summary {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	summary, err := running.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// What was open in processes that had ended before uspan looked at them is told while
// it goes on, and nothing is kept of them.
func TestEndedBeforeLookedAt(t *testing.T) {
	exe, _ := livesOf(t)
	var spans collector
	running, err := instrument.Start(livesConfig(t, &spans, exe))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	const n = 50
	for range n { // nothing is read before Run
		if err := exec.Command(exe, "exit").Run(); err == nil || err.Error() != "exit status 3" {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	type result struct {
		told int
		left map[string]int
		err  error
	}
	looked := make(chan result)
	go func() {
		defer cancel()
		var r result
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			status, err := running.Status(ctx)
			if r.told, r.err = int(status.Summary.Spans), err; err != nil || r.told == n {
				break
			}
		}
		if r.err == nil {
			r.left, r.err = running.InUse()
		}
		looked <- r
	}()
	ended := make(chan error)
	go func() {
		_, err := running.Run(ctx)
		ended <- err
	}()
	if r := <-looked; r.err != nil || r.told != n || len(r.left) > 0 {
		t.Errorf("%d of %d calls were told, %v is left, %v", r.told, n, r.left, r.err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, s := range spans.spans {
		if s.Incomplete != span.ProcessExit {
			t.Errorf("%s ends by %q", s.Function.Name, s.Incomplete)
		}
	}
}

// Calls are of what the process was when it made them, whatever it executes before
// uspan looks at it.
func TestExecutedBeforeLookedAt(t *testing.T) {
	exe, other := livesOf(t)
	for _, role := range []string{"other", "itself"} {
		for _, then := range []string{"nothing", "wait"} { // it has ended, or runs on, when uspan looks
			var spans collector
			running, err := instrument.Start(livesConfig(t, &spans, exe))
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("OTEL_SERVICE_NAME", "before")
			command, _ := play(t, exe, role, other, then)
			awaitExec(t, command.Process.Pid)
			summary := runFor(t, running, time.Second)
			running.Close()
			if len(spans.spans) != 5 || summary.LostSpans() != 0 {
				t.Errorf("%s: %d spans, %+v", role, len(spans.spans), summary)
			}
			for _, s := range spans.spans {
				service, path := attributeOf(s.Resource, "service.name"), attributeOf(s.Resource, "process.executable.path")
				if service != "before" || path != exe {
					t.Fatalf("%s, then %s: a call is of %v, %v", role, then, service, path)
				}
			}
		}
	}
}

// awaitExec waits until a process runs with what it has executed, whose arguments are
// fewer, or has ended.
func awaitExec(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || strings.Count(string(arguments), "\x00") <= 2 {
			return
		}
	}
	t.Fatal("it executes nothing")
}

// A process that ends, or executes something else, while uspan starts keeps it from
// nothing.
func TestGoneWhileStarting(t *testing.T) {
	exe, other := livesOf(t)
	for _, role := range []string{"wait", "wait and execute"} {
		for _, byPath := range []bool{false, true} {
			t.Run(fmt.Sprint(role, byPath), func(t *testing.T) {
				gone, stdin := play(t, exe, role, other)
				stays, _ := play(t, exe, "wait")
				var spans collector
				targets := []string{strconv.Itoa(gone.Process.Pid), strconv.Itoa(stays.Process.Pid)}
				if byPath {
					targets = []string{exe}
				}
				c := livesConfig(t, &spans, targets...)
				c.Progress = func(step string) {
					if !strings.HasPrefix(step, "loading") {
						return
					}
					stdin.Close()
					if role == "wait" {
						gone.Wait()
						return
					}
					for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
						if name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", gone.Process.Pid)); name == other {
							return
						}
					}
				}
				running, err := instrument.Start(c)
				if err != nil {
					t.Fatal(err)
				}
				if err := running.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// An open call of a process of which uspan was not told is counted like any other.
func TestOpenOfUntold(t *testing.T) {
	exe, _ := livesOf(t)
	var spans collector
	running, err := instrument.Start(livesConfig(t, &spans, exe).WithRing(4096)) // too small for what is told of a process
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	play(t, exe, "open")
	summary := runFor(t, running, time.Second)
	if len(spans.spans) != 1 || summary.Open != 1 || summary.Lost.ProcessesUntold != 1 {
		t.Errorf("%d spans, %+v", len(spans.spans), summary)
	}
}

// Nor is such a call taken for one of another process that has the id by then.
func TestOpenOfUntoldUsedID(t *testing.T) {
	exe, other := livesOf(t)
	var spans collector
	running, err := instrument.Start(livesConfig(t, &spans, exe).WithRing(4096))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	first, _ := play(t, exe, "open")
	first.Process.Kill()
	first.Wait()
	time.Sleep(20 * time.Millisecond) // a clock tick of /proc, and one more
	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer hold.Close()
	giveID(t, first.Process.Pid, func() (*exec.Cmd, error) {
		second := exec.Command(other, "wait")
		second.Stdin = stdin
		second.Env = append(os.Environ(), "OTEL_SERVICE_NAME=second")
		return second, nil
	})
	summary := runFor(t, running, time.Second)
	if len(spans.spans) != 1 || summary.Open != 1 {
		t.Fatalf("%d spans, %+v", len(spans.spans), summary)
	}
	s := spans.spans[0]
	if service := attributeOf(s.Resource, "service.name"); service == "second" || s.Incomplete != span.ProcessExit {
		t.Errorf("it is a call of %v, and ends by %q", service, s.Incomplete)
	}
}

// A call whose process executes something while uspan leaves is told once.
func TestExecutedWhileLeaving(t *testing.T) {
	exe, other := livesOf(t)
	for n := range 10 {
		var spans collector
		_, stdin := play(t, exe, "wait") // another one to tell of
		defer stdin.Close()
		removing := false
		c := livesConfig(t, &spans, exe)
		var leave func()
		c.Progress = func(step string) {
			if step == "" && removing {
				leave()
				time.Sleep(time.Duration(n) * time.Millisecond)
			}
			removing = step == "removing the probes"
		}
		running, err := instrument.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		executes, in := play(t, exe, "hold and execute", other)
		leave = func() { in.Close() }
		summary := runFor(t, running, 200*time.Millisecond)
		err = errors.Join(running.Close(), executes.Wait())
		if err != nil || len(spans.spans) != 1 || summary.Open != 1 {
			t.Errorf("after %d ms: %d spans, %+v, %v", n, len(spans.spans), summary, err)
		}
	}
}
