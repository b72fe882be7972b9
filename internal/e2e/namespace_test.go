package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
)

// What containers are made of, without Docker: unshare(1) and nsenter(1) of
// util-linux, which every Debian has.

// requireNamespaces guards the tests that make namespaces.
func requireNamespaces(t *testing.T) {
	t.Helper()
	kerneltest.Require(t)
	for _, name := range []string{"unshare", "nsenter", "mount"} {
		if _, err := exec.LookPath(name); err != nil {
			kerneltest.Missing(t, "needs %s", name)
		}
	}
}

// unshare is a command in new namespaces, as process 1 of its PID namespace, with
// a /proc of its own and a shell script before it. It dies with its parent.
func unshare(script string, args ...string) *exec.Cmd {
	flags := []string{"--kill-child", "--pid", "--fork", "--mount-proc", "--uts", "--net", "--ipc"}
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		flags, args = append(flags, args[0]), args[1:]
	}
	flags = append(flags, "sh", "-c", script+` && exec "$@"`, "sh")
	return exec.Command("unshare", append(flags, args...)...)
}

// inNamespaces enters the PID and mount namespaces of a process, as a sidecar
// does that shares them, and runs a command there.
func inNamespaces(pid int, args ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(pid), "--pid", "--mount"}, args...)
}

// A program in namespaces of its own, whose executable only they have, is traced
// from the host's, by process id and by path.
func TestTargetInNamespaces(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	exe := buildWorker(t)
	for _, test := range []struct {
		name  string
		flags []string
	}{
		{"root's", nil},
		{"a user namespace", []string{"--map-root-user"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := startWorker(t, "inner", unshare(
				"mount -t tmpfs none /mnt && cp "+exe+" /mnt/uspan-worker && hostname uspan-inner",
				append(test.flags, "/mnt/uspan-worker")...))
			pid := leaf(w.Process.Pid)
			for _, name := range []string{strconv.Itoa(pid), "/mnt/uspan-worker"} {
				u := startTracer(t, []string{uspan}, name)
				u.says(t, `tracing 1 function of /mnt/uspan-worker \((pid `+strconv.Itoa(pid)+`|every process, 1 running)\)`)
				w.work(t, 1000)
				resources := checkCalls(t, u.finish(t), map[string]int{"inner": 1000})
				checkResource(t, resources["inner"], map[string]any{
					"process.pid":             int64(1),
					"process.executable.path": "/mnt/uspan-worker",
					"host.name":               "uspan-inner",
				})
			}
		})
	}
}

// The same by an ordinary user with the capabilities that the README names, and
// no more: only the host name is then beyond reach.
func TestTargetInNamespacesWithoutRoot(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	// Not t.TempDir, whose parent only root may enter.
	dir, err := os.MkdirTemp("", "uspan-namespace-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	link(t, uspan, filepath.Join(dir, "uspan"))
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	w := startWorker(t, "inner", unshare(
		"mount -t tmpfs none /mnt && cp "+buildWorker(t)+" /mnt/uspan-worker && chmod 700 /mnt/uspan-worker && hostname uspan-inner",
		"--map-root-user", "/mnt/uspan-worker"))
	file := filepath.Join(dir, "spans.json")
	cmd := exec.Command(filepath.Join(dir, "uspan"), "attach", "-f", "main.work", "-o", "json="+file, "/mnt/uspan-worker")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH},
	}
	u := start(t, file, cmd)
	w.work(t, 1000)
	resources := checkCalls(t, u.finish(t), map[string]int{"inner": 1000})
	checkResource(t, resources["inner"], map[string]any{
		"process.pid":             int64(1),
		"process.executable.path": "/mnt/uspan-worker",
		"host.name":               nil,
	})
	u.says(t, `host name of another UTS namespace: operation not permitted`)
}

// A program in a network namespace that ip(8) made is traced from outside of it by
// its process id, and started by a uspan in it.
func TestNetworkNamespace(t *testing.T) {
	requireNamespaces(t)
	if _, err := exec.LookPath("ip"); err != nil {
		kerneltest.Missing(t, "needs ip")
	}
	uspan, exe := filepath.Join(build(t, "./cmd/uspan"), "uspan"), buildWorker(t)
	namespace := fmt.Sprintf("uspan-test-%d", os.Getpid())
	ip := func(args ...string) *exec.Cmd { return exec.Command("ip", append([]string{"netns"}, args...)...) }
	if out, err := ip("add", namespace).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() { ip("delete", namespace).Run() })
	inside := func(pid int) {
		t.Helper()
		if out, err := ip("identify", strconv.Itoa(pid)).Output(); err != nil || strings.TrimSpace(string(out)) != namespace {
			t.Errorf("process %d is in the network namespace %q, %v", pid, out, err)
		}
	}

	t.Run("attach", func(t *testing.T) {
		w := startWorker(t, "inner", ip("exec", namespace, exe)) // in the place of ip
		pid := w.Process.Pid
		inside(pid)
		u := startTracer(t, []string{uspan}, strconv.Itoa(pid))
		w.work(t, 1000)
		resources := checkCalls(t, u.finish(t), map[string]int{"inner": 1000})
		checkResource(t, resources["inner"], map[string]any{"process.pid": int64(pid), "process.executable.path": exe})
	})
	t.Run("run", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "spans.json")
		w := startWorker(t, "inner", ip("exec", namespace, uspan, "run", "-f", "main.work", "-o", "json="+file, "--", exe))
		pid := leaf(w.Process.Pid)
		inside(pid)
		w.work(t, 1000)
		w.end()
		if err := w.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, w.Stderr)
		}
		resources := checkCalls(t, readSpans(t, file), map[string]int{"inner": 1000})
		checkResource(t, resources["inner"], map[string]any{"process.pid": int64(pid), "process.executable.path": exe})
	})
}

// Root of a user namespace, as in a rootless container, is told what it lacks.
func TestUspanInUserNamespace(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	for _, command := range [][]string{{"run", "--", buildWorker(t)}, {"attach", buildWorker(t)}} {
		cmd := unshare("true", append([]string{"--map-root-user", uspan}, command...)...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "uspan is in a user namespace") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("uspan %v: %v\n%s", command, err, out)
		}
	}
}

// Uspan itself in a time namespace, where its clocks are not the kernel's: spans are of
// the time when they were, and processes those that they are.
func TestUspanInTimeNamespace(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	exe := buildWorker(t)
	in := []string{"unshare", "--time", "--monotonic", "100000", "--boottime", "200000", "--fork", "--kill-child", uspan}
	ids := make(map[any]bool)
	there := startWorker(t, "there", exec.Command(exe))
	for _, command := range [][]string{{uspan}, in} {
		u := startTracer(t, command, exe)
		later := startWorker(t, "later", exec.Command(exe))
		before := time.Now().Truncate(time.Microsecond) // as spans are in the file
		there.work(t, 100)
		later.work(t, 200)
		spans := u.finish(t)
		for _, s := range spans {
			if end := s.Start.Add(s.Duration); s.Start.Before(before) || end.After(time.Now()) {
				t.Fatalf("%v: from %v to %v", command, s.Start, end)
			}
		}
		resources := checkCalls(t, spans, map[string]int{"there": 100, "later": 200})
		ids[resources["there"]["service.instance.id"]] = true
	}
	if len(ids) != 1 || ids[nil] {
		t.Errorf("one process has the instance ids %v", ids)
	}
}

// Uspan itself in a PID namespace that is not the host's: it traces the processes
// that it sees there, those in namespaces below among them, and no other.
func TestUspanInNamespace(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	exe := buildWorker(t)
	outside := startWorker(t, "outside", exec.Command(exe))
	elsewhere := startWorker(t, "elsewhere", unshare("true", exe))
	first := startWorker(t, "first", unshare("true", exe))
	shared := leaf(first.Process.Pid)
	enter := inNamespaces(shared)
	in := func(name string, cmd *exec.Cmd) *worker {
		return startWorker(t, name, exec.Command(enter[0], append(enter[1:], cmd.Args...)...))
	}
	second := in("second", exec.Command(exe))
	below := in("below", unshare("true", exe))

	pids := map[string]int64{"first": 1, "second": second.ownID(t), "below": 1, "later below": 1}
	check := func(t *testing.T, u *tracer, want map[string]int, act func()) {
		t.Helper()
		outside.work(t, 700)
		elsewhere.work(t, 600)
		act()
		outside.work(t, 700)
		elsewhere.work(t, 600)
		resources := checkCalls(t, u.finish(t), want)
		for name, resource := range resources {
			if got := resource["process.pid"]; got != pids[name] {
				t.Errorf("worker %s: process.pid is %v, not %d", name, got, pids[name])
			}
		}
	}
	t.Run("process ids", func(t *testing.T) {
		u := startTracer(t, inNamespaces(shared, uspan), "1")
		check(t, u, map[string]int{"first": 1000}, func() {
			first.work(t, 1000)
			second.work(t, 10)
			below.work(t, 10)
		})
	})
	t.Run("executable", func(t *testing.T) {
		u := startTracer(t, inNamespaces(shared, uspan), exe)
		u.says(t, `every process, 3 running`)
		check(t, u, map[string]int{"first": 1000, "second": 2000, "below": 3000, "later": 4000, "later below": 5000}, func() {
			first.work(t, 1000)
			second.work(t, 2000)
			below.work(t, 3000)
			later := in("later", exec.Command(exe))
			pids["later"] = later.ownID(t)
			later.work(t, 4000)
			in("later below", unshare("true", exe)).work(t, 5000)
		})
	})
	t.Run("one instance from inside and outside", func(t *testing.T) {
		ids := make(map[any]bool)
		for pid, command := range map[int][]string{1: inNamespaces(shared, uspan), shared: {uspan}} {
			u := startTracer(t, command, strconv.Itoa(pid))
			first.work(t, 10)
			ids[checkCalls(t, u.finish(t), map[string]int{"first": 10})["first"]["service.instance.id"]] = true
		}
		if len(ids) != 1 || ids[nil] {
			t.Errorf("one process has the instance ids %v", ids)
		}
	})
	t.Run("run", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "spans.json")
		args := inNamespaces(shared, uspan, "run", "-f", "main.work", "-o", "json="+file, "--", exe)
		w := startWorker(t, "run", exec.Command(args[0], args[1:]...))
		outside.work(t, 700)
		w.work(t, 1000)
		w.end()
		if err := w.Wait(); err != nil {
			t.Fatal(err)
		}
		checkCalls(t, readSpans(t, file), map[string]int{"run": 1000})
	})
	t.Run("proc of another namespace", func(t *testing.T) {
		out, err := exec.Command("unshare", "--kill-child", "--pid", "--fork", uspan, "attach", exe).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "/proc is of another PID namespace") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A process id is another's as soon as its process has ended, and uspan hears of
// that later: each process has its own calls all the same, its open one too.
func TestReusedProcessID(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	exe := buildWorker(t)
	ns := leaf(startWorker(t, "init", unshare("true", exe)).Process.Pid)
	// The next process of the namespace has the id behind the last one.
	enter := inNamespaces(ns, "sh", "-c", `echo 999 >/proc/sys/kernel/ns_last_pid && "$@"; true`, "sh", exe)
	u := startTracer(t, inNamespaces(ns, uspan), exe)
	want := make(map[string]int)
	for i := range 10 {
		name := fmt.Sprintf("worker %d", i)
		want[name] = 101
		w := startWorker(t, name, exec.Command(enter[0], enter[1:]...))
		w.work(t, 100)
		w.stay(t)
		u.tellsOf(t, name)
		if err := syscall.Kill(leaf(w.Process.Pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.Wait()
	}
	spans := u.finishWith(t, 10)
	for name, resource := range checkCalls(t, spans, want) {
		if resource["process.pid"] != int64(1000) {
			t.Errorf("%s is process %v", name, resource["process.pid"])
		}
	}
	for _, s := range spans {
		why, incomplete := s.Tags["uspan.incomplete"]
		if stays := s.Tags["uspan.arg.n"] == int64(-1); incomplete != stays || incomplete && why != "process exit" {
			t.Errorf("call %v: incomplete %v", s.Tags["uspan.arg.n"], why)
		}
		if s.Parent != "" {
			t.Errorf("call %v of %v has a parent", s.Tags["uspan.arg.n"], s.Tags["uspan.arg.worker"])
		}
	}
}

// A process that has ended before uspan looks at it is told of like one that lives,
// by what the kernel side has kept: a uspan that is stopped meanwhile looks too late.
func TestEndedBeforeLookedAt(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	exe := buildWorker(t)
	for _, test := range []struct {
		name    string
		cmd     *exec.Cmd
		padding int // of the environment, in bytes
	}{
		{"plain", exec.Command(exe), 0},
		{"inner", unshare("hostname uspan-inner", exe), 0},
		{"much", exec.Command(exe), 20000},
	} {
		t.Run(test.name, func(t *testing.T) {
			trace := func() *tracer {
				file := filepath.Join(t.TempDir(), "spans.json")
				cmd := exec.Command(uspan, "attach", "-v", "-f", "main.work", "-o", "json="+file, "./"+filepath.Base(exe))
				cmd.Dir = filepath.Dir(exe)
				return start(t, file, cmd)
			}
			early, late := trace(), trace()
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			if test.padding > 0 {
				t.Setenv("AAA", strings.Repeat("a", test.padding))
			}
			if err := late.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			w := startWorker(t, test.name, test.cmd)
			w.work(t, 10)
			early.tellsOf(t, test.name)
			w.end()
			w.Wait()
			if err := late.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			want := checkCalls(t, early.finish(t), map[string]int{test.name: 10})[test.name]
			late.awaits(t, `it had ended before it was looked at`)
			got := late.finish(t)[0].Process
			delete(want, "container.id")
			if test.padding > 0 {
				want["service.name"] = filepath.Base(exe)
				late.says(t, `OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are known only where they are in the first 8192 of 2\d{4} bytes of its environment`)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the resource of one that lives, and of one that has ended:\n%s", diff)
			}
		})
	}
}

// A process that executes another traced file goes on as a process of that.
func TestExecutesAnother(t *testing.T) {
	requireNamespaces(t)
	uspan := filepath.Join(build(t, "./cmd/uspan"), "uspan")
	one, two := buildWorker(t), buildWorker(t, "-buildmode=pie", "-ldflags=-X=main.version=two")
	w := startWorker(t, "worker", exec.Command(one))
	u := startTracer(t, []string{uspan}, one, two)
	w.work(t, 100)
	w.tell(t, "exec "+two, "ready two")
	w.work(t, 200)
	calls := make(map[any]int)
	for _, s := range u.finish(t) {
		calls[s.Process["process.executable.path"]]++
	}
	if calls[one] != 100 || calls[two] != 200 {
		t.Errorf("calls by executable: %v\n%s", calls, &u.stderr)
	}
}
