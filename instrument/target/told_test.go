package target

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/kerneltest"
)

// A process is the one that was told of by its start, in whatever time namespace
// uspan is: /proc has it as it is reckoned there, the kernel side as nobody shifts it.
func TestIs(t *testing.T) {
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	p, err := Open(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// Told would be told what the initial namespace has.
	told := Told{Started: p.started*tick - uint64(span.OwnClockOffsets().Boottime)}
	later := Told{Started: told.Started + tick}
	if !p.Is(&told) || p.Is(&later) {
		t.Errorf("started %d: %v for %d, %v for %d", p.started, p.Is(&told), told.Started, p.Is(&later), later.Started)
	}

	now := span.Monotonic()
	if p.StartedAfter(now) || !p.StartedAfter(now-1e9) {
		t.Errorf("started after now: %v; after a second ago: %v", p.StartedAfter(now), p.StartedAfter(now-1e9))
	}

	if _, err := exec.LookPath("unshare"); err != nil {
		kerneltest.Missing(t, "needs unshare")
	}
	kerneltest.RequireRoot(t)
	for _, offset := range []string{"100000", "-3"} {
		there := exec.Command("unshare", "--time", "--boottime", offset, "--monotonic", "1000", "--fork", "--kill-child",
			os.Args[0], fmt.Sprint(p.PID()), fmt.Sprint(told.Started), fmt.Sprint(now))
		there.Env = as("told")
		out, err := there.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "true false true false" {
			t.Errorf("%s s: %v %s", offset, err, out)
		}
	}
}

// playTold looks at a process that was told of, and at one with its id that started
// a tick later; and whether it started after a second before some moment, and after that.
func playTold() {
	var pid int
	var told Told
	var moment uint64
	fmt.Sscan(strings.Join(os.Args[1:], " "), &pid, &told.Started, &moment)
	p, err := Open(pid)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Is(&told), p.Is(&Told{Started: told.Started + tick}), p.StartedAfter(moment-1e9), p.StartedAfter(moment))
}
