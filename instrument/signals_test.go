package instrument_test

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// The target gets SIGUSR1 where a function without a frame runs in a loop, and
// SIGUSR2 in the middle of a system call.
const signalled = `-- go.mod --
module example.com/signalled

go 1.18
-- main.go --
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
)

var turns, stop int64

//go:noinline
func spin() {
	for atomic.AddInt64(&turns, 1) > 0 && atomic.LoadInt64(&stop) == 0 {
	}
}

//go:noinline
func work(tid chan int, done chan bool) {
	runtime.LockOSThread()
	tid <- syscall.Gettid()
	spin()
	done <- true
}

//go:noinline
func raise(s syscall.Signal) {
	runtime.LockOSThread()
	syscall.Tgkill(os.Getpid(), syscall.Gettid(), s)
}

func main() {
	got := make(chan os.Signal, 2)
	signal.Notify(got, syscall.SIGUSR1, syscall.SIGUSR2)
	tid, done := make(chan int), make(chan bool)
	go work(tid, done)
	thread := <-tid
	for atomic.LoadInt64(&turns) < 1000 {
		runtime.Gosched()
	}
	syscall.Tgkill(os.Getpid(), thread, syscall.SIGUSR1)
	<-got
	atomic.StoreInt64(&stop, 1)
	<-done
	raise(syscall.SIGUSR2)
	<-got
	fmt.Println("done")
}
`

// A signal handler's calls have the stack of what the signal interrupted.
func TestSignals(t *testing.T) {
	for _, options := range []testprog.Options{
		{GoVersion: "go1.18.10"},
		{GoVersion: "go1.21.13", Flags: []string{"-buildmode=pie"}},
		{},
		{Cgo: true, Flags: []string{"-ldflags=-linkmode=external"}},
		{GoVersion: "go1.27.1"},
	} {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, signalled+testprog.C, options)
			kerneltest.Require(t)
			// Nothing else interrupts what spins, and there is a processor beside it.
			t.Setenv("GODEBUG", "asyncpreemptoff=1")
			t.Setenv("GOMAXPROCS", "2")
			spans := traceStacks(t, exe, options, plan.Rules{Patterns: []string{"runtime.sighandler"}, Values: true})
			if spans == nil {
				return
			}
			for sig, want := range map[int64][]string{
				10: {"main.spin", "main.work"},
				12: {"main.raise", "main.main", "runtime.main"},
			} {
				var got [][]string
				for _, s := range spans {
					if s.Args[0].Name == "sig" && s.Args[0].Value == sig {
						got = append(got, interrupted(s))
					}
				}
				if len(got) != 1 {
					t.Errorf("signal %d: %d calls of runtime.sighandler: %v", sig, len(got), got)
					continue
				}
				if runtime.GOARCH == "arm64" { // see turns in gobin
					want = []string{"cut"}
				}
				if diff := cmp.Diff(want, got[0]); diff != "" {
					t.Errorf("signal %d: %s", sig, diff)
				}
			}
		})
	}
}

// interrupted are the functions on the stack of a call that a signal has
// interrupted, without those of package syscall and what they call.
func interrupted(s *span.Span) []string {
	if s.Stack == nil {
		return nil
	}
	var names []string
	for _, f := range s.Stack.Frames {
		names = append(names, f.Function)
	}
	if s.Stack.Cut {
		names = append(names, "cut")
	}
	names = names[slices.Index(names, "runtime.sigtramp")+1:]
	if names[0] == "runtime.asyncPreempt" { // the runtime's own signal came first
		names = names[1:]
	}
	for i, name := range slices.Backward(names) {
		if strings.Contains(name, "yscall.") {
			names = names[i+1:]
			break
		}
	}
	return names
}
