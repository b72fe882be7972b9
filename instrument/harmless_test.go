package instrument_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// busy is a process of testdata/counting that works until it is told to end.
type busy struct {
	*exec.Cmd
	exe     string
	stdin   io.Closer
	printed bytes.Buffer
}

func startBusy(t *testing.T, exe string) *busy {
	t.Helper()
	b := &busy{Cmd: exec.Command(exe, "-forever"), exe: exe}
	b.Stdout, b.Stderr = &b.printed, os.Stderr
	var err error
	if b.stdin, err = b.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := testprog.StartBusy(b.Cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Process.Kill(); b.Wait() })
	return b
}

func (b *busy) pid() string { return strconv.Itoa(b.Process.Pid) }

// finish ends the process, which must have gone on all the time, and checks
// its own account: every call has taken the next number.
func (b *busy) finish(t *testing.T) {
	t.Helper()
	b.stdin.Close()
	if err := b.Wait(); err != nil {
		t.Fatalf("the target: %v", err)
	}
	var truth map[string]int64
	if err := json.Unmarshal(b.printed.Bytes(), &truth); err != nil {
		t.Fatalf("the target printed %q: %v", b.printed.Bytes(), err)
	}
	var calls int64
	for _, name := range counted {
		calls += truth[name]
	}
	if truth["sum"] != calls*(calls+1)/2 || calls == 0 {
		t.Errorf("the target made %d calls whose numbers add up to %d", calls, truth["sum"])
	}
}

// checkText compares the process's code with that of its file.
func (b *busy) checkText(t *testing.T) {
	t.Helper()
	if diff := b.textDiff(t); diff != "" {
		t.Fatal(diff)
	}
}

// textDiff is the first difference between the process's code and its file's.
func (b *busy) textDiff(t *testing.T) string {
	t.Helper()
	f, err := elf.Open(b.exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := f.Section(".text")
	want, err := text.Data()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/" + b.pid() + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	have := make([]byte, len(want))
	if _, err := memory.ReadAt(have, int64(text.Addr)); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if have[i] != want[i] {
			return fmt.Sprintf("the target's code at %#x is %#x, not %#x", text.Addr+uint64(i), have[i], want[i])
		}
	}
	return ""
}

// object is something of BPF that a process has a file descriptor for.
type object struct {
	kind string // prog_id, map_id, link_id
	id   uint32
}

// objectsOf are the BPF objects that a process holds. None where it has ended.
func objectsOf(pid int) []object {
	var objects []object
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, info := range infos {
		text, _ := os.ReadFile(info)
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "prog_id", "map_id", "link_id":
				if id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil {
					objects = append(objects, object{key, uint32(id)})
				}
			}
		}
	}
	return objects
}

// exists says whether the kernel still has the object. The kernel does not use
// an id again before it has gone through all of them.
func (o object) exists() bool {
	var err error
	var held io.Closer
	switch o.kind {
	case "prog_id":
		held, err = ebpf.NewProgramFromID(ebpf.ProgramID(o.id))
	case "map_id":
		// Not by opening it: the kernel loses count of a program array whose last
		// user comes back while it is cleared (prog_array_map_clear).
		next, err := ebpf.MapGetNextID(ebpf.MapID(o.id - 1))
		return err == nil && next == ebpf.MapID(o.id)
	case "link_id":
		held, err = link.NewFromID(link.ID(o.id))
	}
	if err == nil {
		held.Close()
	}
	return !errors.Is(err, os.ErrNotExist)
}

// linksInto are the links that have probes in a file. Where each site has a link
// of its own, the kernel does not tell the file (before Linux 6.6), and it is all
// links of that kind.
func linksInto(t *testing.T, path string) (ids []link.ID) {
	t.Helper()
	var links link.Iterator
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err != nil {
			continue
		}
		multi := info.UprobeMulti()
		if multi != nil && multi.File == path || multi == nil && info.Type == link.PerfEventType && !kerneltest.UprobeMulti() {
			ids = append(ids, links.ID)
		}
	}
	switch err := links.Err(); {
	case errors.Is(err, unix.EAGAIN): // one that is being made: all again
		return linksInto(t, path)
	case err != nil:
		t.Fatal(err)
	}
	return ids
}

// checkGone waits until nothing is left of a uspan that had probes in the target.
func (b *busy) checkGone(t *testing.T, objects []object) {
	t.Helper()
	awaitGone(t, objects, b.exe, func() string { return b.textDiff(t) })
}

// awaitGone waits until the kernel has neither the objects nor links into an
// executable, and left says nothing: it takes them down some time after their
// last user has gone, a link's name before its probes.
func awaitGone(t *testing.T, objects []object, exe string, left func() string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		objects = slices.DeleteFunc(objects, func(o object) bool { return !o.exists() })
		links := linksInto(t, exe)
		more := left()
		if len(objects) == 0 && len(links) == 0 && more == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v, links %v into %s; %s", objects, links, exe, more)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// config traces the counted functions of targets into an output.
func config(t *testing.T, output instrument.Output, targets ...string) instrument.Config {
	return instrument.Config{
		Targets: targets,
		Rules:   plan.Rules{Patterns: counted, Values: true},
		Outputs: []instrument.Output{output},
		Say:     func(string) {},
		Log:     func(message string) { t.Log(message) },
	}
}

// counter is an Output that counts.
type counter struct{ spans int }

func (c *counter) Export(spans []*span.Span) { c.spans += len(spans) }

// Attach and detach again and again, a thousand times with all tests, in a target that
// is busy all the time.
func TestAttachDetach(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	times := 200
	switch {
	case !kerneltest.UprobeMulti():
		times = 10 // seconds each
	case testing.Short():
		times = 15
	case os.Getenv("TEST_ALL") == "1":
		times = 1000
	}
	b := startBusy(t, exe)
	var spans counter
	before := 0
	var objects []object
	for i := range times {
		c := config(t, &spans, b.pid())
		c.For = time.Duration(1+rand.IntN(3000)) * time.Microsecond // 0 would be for ever
		// With values the kernel takes longer to load the programs.
		if i%4 != 0 {
			c.Rules.Values = false
		}
		trace, err := instrument.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, objectsOf(os.Getpid())...)
		if _, err := trace.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := trace.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			before = descriptors(t) // what the Go runtime keeps is open by now
		}
		if i%100 == 0 || i == times-1 {
			b.checkGone(t, objects)
			objects = objects[:0]
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were after the first time", after, before)
	}
	if spans.spans == 0 {
		t.Errorf("no spans in %d times", times)
	}
	t.Logf("%d spans", spans.spans)
	b.finish(t)
}

// uspan dies of SIGKILL at any moment: before its probes are there, while they
// come, and while they work.
func TestKilled(t *testing.T) {
	uspan, exe := testprog.Command(t, "../cmd/uspan"), build(t, "counting")
	kerneltest.Require(t)
	b := startBusy(t, exe)
	attached, times := 0, 50
	switch {
	case !kerneltest.UprobeMulti():
		times = 8 // seconds each
	case testing.Short():
		times = 20
	}
	// The first ones are killed when they have their probes: so long does that take
	// here, once files are in memory. Two links are anchors, which come first.
	const measured, anchors = 3, 2
	var moment time.Duration
	for i := range times {
		if i >= 8 && moment > 5*time.Second {
			times = i // an emulated machine
			break
		}
		command := exec.Command(uspan, "attach", "-q", "-o", "json="+os.DevNull, "-f", "main.*", "-f", "!main.main", b.pid())
		command.Stderr = os.Stderr
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		if i < measured {
			begin := time.Now()
			for len(linksInto(t, b.exe)) <= anchors && time.Since(begin) < 5*time.Minute {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(begin); i == 0 || took < moment {
				moment = took
			}
		} else {
			time.Sleep(rand.N(3 * moment))
		}
		objects := objectsOf(command.Process.Pid)
		if len(linksInto(t, b.exe)) > anchors {
			attached++
		}
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		command.Wait()
		b.checkGone(t, objects)
	}
	if attached == 0 || attached == times {
		t.Errorf("%d of %d were killed while they had probes in the target: the moments are not random enough", attached, times)
	}
	t.Logf("%d of %d had probes in the target, after %v", attached, times, moment)
	b.finish(t)
}

// The target dies of SIGKILL under its probes.
func TestTargetKilled(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	open, times := 0, 20
	if testing.Short() {
		times = 6
	}
	for range times {
		b := startBusy(t, exe)
		var spans collector
		trace, err := instrument.Start(config(t, &spans, b.pid()))
		if err != nil {
			t.Fatal(err)
		}
		objects := objectsOf(os.Getpid())
		killer := time.AfterFunc(time.Duration(rand.IntN(100))*time.Millisecond, func() { b.Process.Kill() })
		summary, err := trace.Run(context.Background())
		killer.Stop()
		if err := errors.Join(err, trace.Close()); err != nil {
			t.Fatal(err)
		}
		b.Wait()
		awaitGone(t, objects, exe, func() string { return "" })
		incomplete := 0
		for _, s := range spans.spans {
			if s.Incomplete == span.ProcessExit {
				incomplete++
			}
		}
		if uint64(incomplete) != summary.Open || uint64(len(spans.spans)) != summary.Spans {
			t.Errorf("%d spans, %d of them cut off by the end of the process; summary: %+v", len(spans.spans), incomplete, summary)
		}
		open += incomplete
	}
	if open == 0 {
		t.Error("no call was open in any of the processes")
	}
}

// Processes that end while uspan comes: one clear error, or a trace that ends.
func TestTargetEndsWhileAttaching(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	refused, times := 0, 40
	if testing.Short() {
		times = 10
	}
	for range times {
		command := exec.Command(exe)
		if err := testprog.Start(command); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- command.Wait() }()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		trace, err := instrument.Start(config(t, &counter{}, strconv.Itoa(command.Process.Pid)))
		switch {
		case err == nil:
			if _, err := trace.Run(context.Background()); err != nil {
				t.Error(err)
			}
			if err := trace.Close(); err != nil {
				t.Error(err)
			}
		case errors.Is(err, target.ErrNoProcess) && !strings.Contains(err.Error(), "\n"):
			refused++
		default:
			t.Errorf("attach to a process that ends: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the target: %v", err)
		}
	}
	t.Logf("%d of %d had ended", refused, times)
}

// An executable that is replaced while it runs: the file that runs is traced,
// whatever is at its path.
func TestReplacedExecutable(t *testing.T) {
	other, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string]func(path string) error{
		"deleted": os.Remove,
		"unlinked and written": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, other, 0o755))
		},
		"renamed over": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", other, 0o755), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			exe := build(t, "counting")
			kerneltest.Require(t)
			b := startBusy(t, exe)
			keep := filepath.Join(t.TempDir(), "kept")
			if err := os.Link(exe, keep); err != nil {
				t.Fatal(err)
			}
			b.exe = keep
			if err := replace(exe); err != nil {
				t.Fatal(err)
			}
			var spans collector
			c := config(t, &spans, b.pid())
			c.For = 2 * time.Second
			trace, err := instrument.Start(c)
			if err != nil {
				t.Fatal(err)
			}
			objects := objectsOf(os.Getpid())
			if _, err := trace.Run(context.Background()); err != nil {
				t.Error(err)
			}
			if err := trace.Close(); err != nil {
				t.Error(err)
			}
			if len(spans.spans) == 0 {
				t.Error("no spans")
			}
			for _, s := range spans.spans {
				if number(t, s.Args, "id") <= 0 {
					t.Fatalf("%s has no number", s.Function.Name)
				}
			}
			b.checkGone(t, objects)
			b.finish(t)
		})
	}
}

// Two uspans trace one process, and others come and go: each of the two has
// every call.
func TestTwoAtOnce(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var first, second collector
	c := config(t, &first)
	c.Command = &target.Command{Path: exe, Stdout: w}
	one, err := instrument.Start(c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	pid := strconv.Itoa(one.Command().PID())
	two, err := instrument.Start(config(t, &second, pid))
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()

	var running sync.WaitGroup
	running.Go(func() {
		summary, err := two.Run(context.Background())
		if err != nil || summary.LostSpans() != 0 {
			t.Errorf("the second: %v, %+v", err, summary)
		}
	})
	running.Go(func() {
		for range 5 {
			c := config(t, &counter{}, pid)
			c.For = 3 * time.Millisecond
			passing, err := instrument.Start(c)
			if err != nil {
				return // the process has ended
			}
			if _, err := passing.Run(context.Background()); err != nil {
				t.Error(err)
			}
			if err := passing.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	printed := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(r)
		printed <- text
	}()
	summary, err := one.Run(context.Background())
	if err != nil || summary.LostSpans() != 0 {
		t.Errorf("the first: %v, %+v", err, summary)
	}
	if status, err := one.Command().Wait(); err != nil || status.ExitCode() != 0 {
		t.Errorf("the target ended with %v, %v", status, err)
	}
	running.Wait()
	text := <-printed
	compare(t, first.spans, text)
	compare(t, second.spans, text)
}

// Other processes of the executable do not notice: no probe is in their code.
// From Linux 6.10 on, and before 6.6.
func TestOtherProcesses(t *testing.T) {
	exe := build(t, "counting")
	kerneltest.Require(t)
	first, second, other := startBusy(t, exe), startBusy(t, exe), startBusy(t, exe)
	var spans collector
	c := config(t, &spans, first.pid(), second.pid())
	c.For = 300 * time.Millisecond
	trace, err := instrument.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	other.checkText(t)
	if n := len(linksInto(t, exe)); kerneltest.UprobeMulti() && n != 8 {
		t.Errorf("there are %d links, not 3 for each process (entries, exits, panics) and 2 anchors", n)
	}
	if _, err := trace.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]int)
	threads := make(map[uint32]bool)
	for _, s := range spans.spans {
		seen[s.Resource.PID]++
		threads[s.Thread] = true
	}
	if seen[first.Process.Pid] == 0 || seen[second.Process.Pid] == 0 || len(seen) != 2 {
		t.Errorf("spans by process: %v", seen)
	}
	if len(threads) < 3 {
		t.Errorf("spans are of the threads %v alone", threads)
	}
	for _, b := range []*busy{first, second, other} {
		b.checkText(t)
		b.finish(t)
	}
}
