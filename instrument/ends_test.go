package instrument_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// ends has two goroutines with three open calls each when it ends, in the way that
// its argument says; with a second argument, once its standard input is closed.
const ends = `
-- go.mod --
module example.com/ends

go 1.18
-- main.go --
package main

import (
	"os"
	"syscall"
	"time"
)

var how = os.Args[1]

//go:noinline
func outer(ready chan bool) { middle(ready); <-ready }

//go:noinline
func middle(ready chan bool) { inner(ready); <-ready }

//go:noinline
func inner(ready chan bool) {
	if ready != nil {
		close(ready)
		select {}
	}
	switch how {
	case "exit":
		os.Exit(3)
	case "return":
		ended <- true
		select {}
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "terminate":
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "quit":
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		time.Sleep(time.Hour) // not for ever: a deadlock is fatal, too, and the runtime hangs between the two
	case "stay":
		os.Stdout.WriteString("open\n")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	case "exec":
		syscall.Exec("/bin/sleep", []string{"sleep", "0.5"}, nil)
	case "exec itself":
		self, _ := os.Executable()
		syscall.Exec(self, []string{self, "sleep"}, os.Environ())
	}
}

var ended = make(chan bool)

func main() {
	if how == "sleep" {
		time.Sleep(500 * time.Millisecond)
		return
	}
	if len(os.Args) > 2 {
		os.Stdin.Read(make([]byte, 1))
	}
	ready := make(chan bool)
	go outer(ready)
	<-ready
	go outer(nil)
	<-ended
}
`

// What is open when the process ends says how that was, at the root.
func TestEnds(t *testing.T) {
	eachBuild(t, ends, func(t *testing.T, exe string, _ testprog.Options, _ int) { testEnds(t, exe) })
}

func testEnds(t *testing.T, exe string) {
	for how, want := range map[string]*span.Exit{
		"exit":        {Status: 3},
		"return":      {Status: 0},
		"kill":        {Signal: "SIGKILL"},
		"terminate":   {Signal: "SIGTERM"},
		"quit":        {Status: 2}, // Go's own handler prints all stacks
		"exec":        nil,
		"exec itself": nil,
	} {
		if _, err := os.Stat("/bin/sleep"); err != nil && how == "exec" {
			continue // a machine without any other program
		}
		t.Run(how, func(t *testing.T) {
			spans, summary, _, _ := traceToEnd(t, instrument.Config{Rules: ending}, target.Command{Path: exe, Args: []string{how}, Stderr: null(t)})
			checkEnds(t, spans, summary, want)
		})
		t.Run(how+" of a process that was there", func(t *testing.T) {
			command := exec.Command(exe, how, "wait")
			stdin, err := command.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := testprog.Start(command); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- command.Wait() }()
			var spans collector
			running, err := instrument.Start(instrument.Config{
				Targets: []string{strconv.Itoa(command.Process.Pid)}, Rules: ending, Outputs: []instrument.Output{&spans},
				Say: func(message string) { t.Log(message) }, Log: func(string) {},
			})
			stdin.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer running.Close()
			summary, err := running.Run(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			<-ended
			checkEnds(t, spans.spans, summary, want)
		})
	}
}

var ending = plan.Rules{Patterns: []string{"main.outer", "main.middle", "main.inner"}, Values: true}

// null takes what a target says when it dies.
func null(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What is open when uspan leaves says so, and nothing of the process's end, which is
// to come.
func TestDetached(t *testing.T) {
	eachBuild(t, ends, func(t *testing.T, exe string, _ testprog.Options, _ int) {
		stdin, end, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close()
		open, stdout, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		var spans collector
		running, err := instrument.Start(instrument.Config{
			Command: &target.Command{Path: exe, Args: []string{"stay"}, Stdin: stdin, Stdout: stdout}, Rules: ending,
			Outputs: []instrument.Output{&spans}, Say: func(message string) { t.Log(message) }, Log: func(string) {},
		})
		stdin.Close()
		stdout.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer running.Close()
		leave, cancel := context.WithCancel(context.Background())
		go func() {
			open.Read(make([]byte, 1))
			cancel()
		}()
		summary, err := running.Run(leave)
		if err != nil {
			t.Fatal(err)
		}
		end.Close()
		if status, err := running.Command().Wait(); err != nil || status.ExitCode() != 0 {
			t.Errorf("the target: %v, %v", status, err)
		}
		if len(spans.spans) != 6 || summary.Open != 6 || summary.LostSpans() != 0 {
			t.Errorf("%d spans, %+v", len(spans.spans), summary)
		}
		for _, s := range spans.spans {
			if s.Incomplete != span.Detached || s.Exit != nil {
				t.Errorf("%s ends by %q, %+v", s.Function.Name, s.Incomplete, s.Exit)
			}
		}
	})
}

// How the process ended is said of what is open in a trace whose root has returned,
// too, at the outermost call.
func TestEndsBelowReturned(t *testing.T) {
	exe := testprog.Build(t, `
-- go.mod --
module example.com/left

go 1.18
-- main.go --
package main

import "os"

//go:noinline
func outer(ready chan bool) { inner(ready); <-ready }

//go:noinline
func inner(ready chan bool) { ready <- true; <-ready }

//go:noinline
func begin(ready chan bool) { go outer(ready) }

func main() {
	ready := make(chan bool)
	begin(ready)
	<-ready // nobody answers
	os.Exit(3)
}
`, testprog.Options{})
	kerneltest.Require(t)
	rules := plan.Rules{Patterns: []string{"main.outer", "main.inner", "main.begin"}}
	spans, summary, _, _ := traceToEnd(t, instrument.Config{Rules: rules}, target.Command{Path: exe, Stderr: null(t)})
	if len(spans) != 3 || summary.Open != 2 {
		t.Fatalf("%d spans, %+v", len(spans), summary)
	}
	byName := make(map[string]*span.Span)
	for _, s := range spans {
		byName[s.Function.Name] = s
	}
	begin, outer, inner := byName["main.begin"], byName["main.outer"], byName["main.inner"]
	if outer.Parent != begin.ID || inner.Parent != outer.ID {
		t.Errorf("the calls are not below each other: %+v, %+v, %+v", begin, outer, inner)
	}
	if diff := cmp.Diff(&span.Exit{Status: 3}, outer.Exit); diff != "" || begin.Exit != nil || inner.Exit != nil {
		t.Errorf("exits: begin %+v, outer %+v, inner %+v", begin.Exit, outer.Exit, inner.Exit)
	}
}

// checkEnds is called when the process has ended. Where that is not what ended the
// calls, want is nil: the process has executed something that takes half a second.
func checkEnds(t *testing.T, spans []*span.Span, summary *instrument.Summary, want *span.Exit) {
	t.Helper()
	if len(spans) != 6 || summary.Open != 6 {
		t.Errorf("%d spans, %+v", len(spans), summary)
	}
	for _, s := range spans {
		if s.Incomplete != span.ProcessExit {
			t.Errorf("%s ends by %q", s.Function.Name, s.Incomplete)
		}
		var expected *span.Exit
		// Who did not start the process may not learn it before Linux 6.15.
		if (s.Parent == span.ID{}) && (s.Exit != nil || kernelSince(t, 6, 15)) {
			expected = want
		}
		if lived := time.Since(s.End); want == nil && lived < 400*time.Millisecond {
			t.Errorf("%s ends %v before the process", s.Function.Name, lived)
		}
		if diff := cmp.Diff(expected, s.Exit); diff != "" {
			t.Errorf("%s: %s", s.Function.Name, diff)
		}
	}
}

func kernelSince(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b); err != nil {
		t.Fatal(err)
	}
	return a > major || a == major && b >= minor
}
