package attach

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// hitting has threads that do nothing but call a function, until its standard input is
// closed.
const hitting = `
-- go.mod --
module example.com/hitting

go 1.21
-- main.go --
package main

import (
	"os"
	"runtime"
)

//go:noinline
func hit() {}

func main() {
	runtime.GOMAXPROCS(6)
	for range [6]int{} {
		go func() {
			for {
				hit()
			}
		}()
	}
	os.Stdin.Read(make([]byte, 1))
}
`

// A thread that is on its way from a breakpoint to the kernel's answer survives that
// the last probe of the process is removed: see anchor.
func TestDetachAmongHits(t *testing.T) {
	path := testprog.Copy(t, testprog.Build(t, hitting, testprog.Options{}))
	eachWay(t, func(t *testing.T, options Options) {
		kerneltest.Require(t)
		options.Tally, options.Stacks = true, true // no other probe
		file, p := openPlan(t, path, "main.hit")
		pid := begin(t, path)
		s := newSession(t, p, options)
		if err := s.Watch(0, pid); err != nil {
			t.Fatal(err)
		}
		times := 40
		if options.NoMulti {
			times = 10 // seconds each
		}
		for range times {
			if _, err := s.Attach(0, file, []int{pid}); err != nil {
				t.Fatal(err)
			}
			awaitHits(t, s)
			if err := s.Detach(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// So does a thread where uspan is killed, and the kernel removes the probes by itself.
func TestKilledAmongHits(t *testing.T) {
	if path, traced := os.LookupEnv("KILLED_PATH"); traced {
		attachUntilKilled(t, path, os.Getenv("KILLED_PID"), os.Getenv("KILLED_MULTI") == "")
	}
	path := testprog.Copy(t, testprog.Build(t, hitting, testprog.Options{}))
	eachWay(t, func(t *testing.T, options Options) {
		kerneltest.Require(t)
		pid := begin(t, path)
		times := 15
		if options.NoMulti {
			times = 5 // seconds each
		}
		for range times {
			killed := exec.Command(os.Args[0], "-test.run=^TestKilledAmongHits$")
			killed.Env = append(os.Environ(), "KILLED_PATH="+path, "KILLED_PID="+strconv.Itoa(pid))
			if !options.NoMulti {
				killed.Env = append(killed.Env, "KILLED_MULTI=1")
			}
			killed.Stderr = os.Stderr
			out, err := killed.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := killed.Start(); err != nil {
				t.Fatal(err)
			}
			said, _ := bufio.NewReader(out).ReadString('\n')
			if err := killed.Process.Kill(); err != nil || said != "attached\n" {
				t.Fatalf("%q, %v", said, err)
			}
			killed.Wait()
		}
	})
}

// attachUntilKilled is the process of TestKilledAmongHits that is killed.
func attachUntilKilled(t *testing.T, path, process string, noMulti bool) {
	pid, err := strconv.Atoi(process)
	if err != nil {
		t.Fatal(err)
	}
	file, p := openPlan(t, path, "main.hit")
	s := newSession(t, p, Options{Tally: true, Stacks: true, NoMulti: noMulti})
	if err := s.Watch(0, pid); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attach(0, file, []int{pid}); err != nil {
		t.Fatal(err)
	}
	awaitHits(t, s)
	fmt.Println("attached")
	time.Sleep(time.Hour)
}

// awaitHits waits until the probes are hit once more.
func awaitHits(t *testing.T, s *Session) {
	t.Helper()
	hits := func() (n uint64) {
		all, err := s.Tallies()
		if err != nil {
			t.Fatal(err)
		}
		for _, stack := range all {
			n += stack.Calls
		}
		return n
	}
	before := hits()
	for begun := time.Now(); hits() == before; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("no probe is hit")
		}
	}
}

// begin starts a program that goes on until its standard input is closed, and then has
// to end well.
func begin(t *testing.T, path string) (pid int) {
	t.Helper()
	command := exec.Command(path)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := testprog.StartBusy(command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), command.Wait()); err != nil {
			t.Error(err)
		}
	})
	return command.Process.Pid
}
