package instrument_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// kin starts itself in several ways, and a copy of itself that is another file.
// Its first process prints how often each process of the same executable has called
// main.step.
const kin = `
-- go.mod --
module example.com/kin

go 1.18
-- main.go --
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

//go:noinline
func step(n int) int { return side(n) + 1 }

//go:noinline
func side(n int) int { return n }

func steps(n int) (calls int) {
	for i := 0; i < n; i++ {
		step(i)
		calls++
	}
	return calls
}

// hold is open when f is called.
//
//go:noinline
func hold(f func()) { f() }

// counts are the calls of step by process.
type counts map[int]int

func (c counts) print() {
	line, _ := json.Marshal(c)
	fmt.Println(string(line))
}

var adding sync.Mutex

// add starts a process and adds what it prints.
func (c counts) add(path string, args ...string) {
	out, _ := exec.Command(path, args...).Output()
	var theirs counts
	json.Unmarshal(out, &theirs)
	adding.Lock()
	defer adding.Unlock()
	for pid, n := range theirs {
		c[pid] += n
	}
}

func main() {
	self, _ := os.Executable()
	mine := counts{}
	count := func(n int) { adding.Lock(); defer adding.Unlock(); mine[os.Getpid()] += n }
	switch os.Args[1] {
	case "root":
		count(steps(10))
		var all sync.WaitGroup
		start := func(path string, args ...string) {
			all.Add(1)
			go func() { defer all.Done(); mine.add(path, args...) }()
		}
		start(self, "child")
		start(self, "parent")
		start(self, "again")
		start(self, "killed")
		start(os.Args[2], "adopting", self)
		exec.Command(os.Args[2], "child").Run() // calls that are another file's
		all.Wait()
		// Others go on when this process has ended.
		late := exec.Command(self, "late", strconv.Itoa(os.Getpid()))
		if err := late.Start(); err != nil {
			panic(err)
		}
		mine[late.Process.Pid] = 7
		count(steps(10))
		mine.print()
	case "child":
		count(steps(20))
		mine.print()
	case "parent":
		count(steps(5))
		mine.add(self, "child")
		count(steps(5))
		mine.print()
	case "adopting": // another file, whose child is none
		mine.add(os.Args[2], "child")
		mine.print()
	case "again":
		n := steps(6)
		hold(func() { syscall.Exec(self, []string{self, "after", strconv.Itoa(n)}, os.Environ()) })
	case "after":
		n, _ := strconv.Atoi(os.Args[2])
		count(n + steps(4))
		mine.print()
	case "killed":
		count(steps(3))
		mine.print()
		time.Sleep(200 * time.Millisecond)
		hold(func() { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} })
	case "late":
		for parent, _ := strconv.Atoi(os.Args[2]); os.Getppid() == parent; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		steps(7)
	case "serve": // has a child before it reads, and starts another
		var out bytes.Buffer
		there := exec.Command(self, "wait")
		goOn, _ := there.StdinPipe()
		there.Stdout = &out
		if err := there.Start(); err != nil {
			panic(err)
		}
		fmt.Println("ready")
		os.Stdin.Read(make([]byte, 1))
		count(steps(2))
		goOn.Close()
		there.Wait()
		json.Unmarshal(out.Bytes(), &mine)
		child := exec.Command(self, "child")
		text, _ := child.Output()
		json.Unmarshal(text, &mine)
		fmt.Println(child.Process.Pid)
		os.Stdin.Read(make([]byte, 1))
		mine.print()
	case "wait":
		os.Stdin.Read(make([]byte, 1))
		count(steps(8))
		mine.print()
	}
}
`

// With Follow, processes of the same executable that a target starts are traced, and
// what it executes in its place; others are not, and none without.
func TestFollow(t *testing.T) {
	eachBuild(t, kin, func(t *testing.T, exe string, _ testprog.Options, _ int) { testFollow(t, exe) })
}

func testFollow(t *testing.T, exe string) {
	other := filepath.Join(t.TempDir(), "other")
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, data, 0o755); err != nil {
		t.Fatal(err)
	}
	rules := plan.Rules{Patterns: []string{"main.step", "main.hold"}}
	for _, follow := range []bool{true, false} {
		t.Run(fmt.Sprint(follow), func(t *testing.T) {
			spans, summary, printed := trace(t, instrument.Config{Rules: rules, Follow: follow},
				target.Command{Path: exe, Args: []string{"root", other}})
			want := make(map[int]int)
			if err := json.Unmarshal(printed, &want); err != nil {
				t.Fatalf("%v: %s", err, printed)
			}
			if len(want) != 8 {
				t.Errorf("%d processes: %v", len(want), want)
			}
			if !follow {
				root := spans[0].Resource.PID
				want = map[int]int{root: want[root]}
			}
			got := stepsOf(t, spans)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if summary.LostSpans() != 0 || summary.Lost.ProcessesFull != 0 {
				t.Errorf("%+v", summary)
			}
			checkHeld(t, spans, follow)
		})
	}
}

// Processes for which there is no room are not traced, and each of their calls is
// counted as lost.
func TestTooManyProcesses(t *testing.T) {
	exe := testprog.Build(t, kin, testprog.Options{})
	kerneltest.Require(t)
	other := filepath.Join(t.TempDir(), "other")
	data, err := os.ReadFile(exe)
	if err := errors.Join(err, os.WriteFile(other, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	c := instrument.Config{Rules: plan.Rules{Patterns: []string{"main.step"}}, Follow: true}
	spans, summary, printed := trace(t, c.WithProcesses(2), target.Command{Path: exe, Args: []string{"root", other}})
	want := make(map[int]int)
	if err := json.Unmarshal(printed, &want); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	calls := 0
	for _, n := range want {
		calls += n
	}
	lost := int(summary.Lost.ProcessesFull)
	if lost == 0 || len(spans)+lost != calls || int(summary.LostSpans()) != lost {
		t.Errorf("%d spans and %d lost of %d calls: %+v", len(spans), lost, calls, summary)
	}
	if sum := summary.Calls["main.step"]; int(sum.Spans) != len(spans) || int(sum.Lost) != lost {
		t.Errorf("the function's calls are %+v", sum)
	}
}

// stepsOf counts the spans of main.step by process, each of which is a root, and has
// the resource of its process: where that has ended before uspan looked, without the
// process's own id.
func stepsOf(t *testing.T, spans []*span.Span) map[int]int {
	t.Helper()
	steps := make(map[int]int)
	for _, s := range spans {
		pid := int64(s.Resource.PID)
		for _, a := range s.Resource.Attributes {
			if a.Key == "process.pid" {
				pid = a.Value.(int64)
			}
		}
		if pid != int64(s.Resource.PID) || (s.Parent != span.ID{}) {
			t.Errorf("a span of process %d has the resource %v and the parent %v", s.Resource.PID, s.Resource.Attributes, s.Parent)
		}
		if s.Function.Name == "main.step" {
			steps[s.Resource.PID]++
		}
	}
	return steps
}

// checkHeld looks at the calls of main.hold, in one of which the process executes
// itself, and is killed in the other.
func checkHeld(t *testing.T, spans []*span.Span, follow bool) {
	t.Helper()
	var exits []string
	for _, s := range spans {
		if s.Function.Name != "main.hold" {
			continue
		}
		if s.Incomplete != span.ProcessExit {
			t.Errorf("%s ends by %q", s.Function.Name, s.Incomplete)
		}
		if s.Exit != nil {
			exits = append(exits, s.Exit.Signal)
		}
	}
	if !follow {
		return
	}
	if n := len(spans) - sum(stepsOf(t, spans)); n != 2 {
		t.Errorf("%d calls were open", n)
	}
	// It is not known where uspan did not see the process alive.
	if len(exits) > 0 && !cmp.Equal(exits, []string{"SIGKILL"}) {
		t.Errorf("processes that ended by %q", exits)
	}
}

func sum(counts map[int]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// Children that are there already are traced, too, and a process that has the id of
// one that has ended, but is no relative, is not.
func TestFollowOfProcess(t *testing.T) {
	eachBuild(t, kin, func(t *testing.T, exe string, _ testprog.Options, _ int) { testFollowOfProcess(t, exe) })
}

func testFollowOfProcess(t *testing.T, exe string) {
	serve := exec.Command(exe, "serve")
	stdin, err := serve.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan() // ready
	var spans collector
	running, err := instrument.Start(instrument.Config{
		Targets: []string{strconv.Itoa(serve.Process.Pid)}, Follow: true,
		Rules: plan.Rules{Patterns: []string{"main.step"}}, Outputs: []instrument.Output{&spans},
		Say: func(message string) { t.Log(message) }, Log: func(string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	want := make(map[int]int)
	served := make(chan error)
	go func() {
		served <- func() error {
			fmt.Fprint(stdin, "1")
			lines.Scan()
			used, err := strconv.Atoi(lines.Text())
			if err != nil {
				return err
			}
			err = useAgain(t, used, exe)
			fmt.Fprint(stdin, "2")
			lines.Scan()
			return errors.Join(err, json.Unmarshal(lines.Bytes(), &want), serve.Wait())
		}()
	}()
	if _, err := running.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	err = <-served
	if err != nil && !errors.Is(err, errNotAgain) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, stepsOf(t, spans.spans)); diff != "" || len(want) != 3 {
		t.Error(diff)
	}
	if err != nil {
		kerneltest.Missing(t, "%v", err)
	}
}

var errNotAgain = errors.New("no process id was used again")

// useAgain starts processes of an executable until one has an id, if the kernel can
// be told which id comes next, and no other process of this machine has it.
func useAgain(t *testing.T, pid int, exe string) error {
	return takeID(pid, func() (int, func(), error) {
		command := exec.Command(exe, "child")
		err := command.Run()
		return command.Process.Pid, func() {}, err
	})
}

// takeID starts processes until one has an id; others are stopped.
func takeID(pid int, start func() (got int, stop func(), err error)) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return fmt.Errorf("%w: %w", errNotAgain, err)
		}
		got, stop, err := start()
		if err != nil {
			return err
		}
		if got == pid {
			return nil
		}
		stop()
	}
	return fmt.Errorf("%w: %d was not to be had", errNotAgain, pid)
}

// giveID gives an id to a command, which runs until the test ends.
func giveID(t *testing.T, pid int, command func() (*exec.Cmd, error)) {
	t.Helper()
	err := takeID(pid, func() (int, func(), error) {
		c, err := command()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			return 0, nil, err
		}
		stop := sync.OnceFunc(func() { c.Process.Kill(); c.Wait() })
		t.Cleanup(stop)
		return c.Process.Pid, stop, nil
	})
	if errors.Is(err, errNotAgain) {
		kerneltest.Missing(t, "%v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// A process whose id is another's when uspan comes to look at it is not taken for that.
func TestIdentityOfUsedID(t *testing.T) {
	exe := testprog.Build(t, kin, testprog.Options{})
	kerneltest.Require(t)
	named := func(name, role string) *exec.Cmd {
		command := exec.Command(exe, role)
		command.Env = append(os.Environ(), "OTEL_SERVICE_NAME="+name)
		return command
	}
	var spans collector
	running, err := instrument.Start(instrument.Config{
		Targets: []string{exe}, Rules: plan.Rules{Patterns: []string{"main.step"}}, Outputs: []instrument.Output{&spans},
		Say: func(message string) { t.Log(message) }, Log: func(string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	first := named("first", "child")
	if err := first.Run(); err != nil {
		t.Fatal(err)
	}
	// What it did is in the ring: it is not read before Run.
	giveID(t, first.Process.Pid, func() (*exec.Cmd, error) {
		second := named("second", "wait")
		_, err := second.StdinPipe() // which it waits for
		return second, err
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if _, err := running.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(spans.spans) != 20 {
		t.Errorf("%d spans, not 20", len(spans.spans))
	}
	for _, s := range spans.spans {
		if service := attributeOf(s.Resource, "service.name"); service != "first" {
			t.Fatalf("a call of first is one of %v", service)
		}
	}
}

func attributeOf(r *span.Resource, key string) any {
	for _, a := range r.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}
