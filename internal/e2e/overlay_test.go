package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// image is a directory that overlayfs shows to containers, as Docker's images are.
func image(t *testing.T, exe string) string {
	t.Helper()
	dir := t.TempDir()
	link(t, exe, filepath.Join(dir, "worker"))
	return dir
}

// inContainer is a worker in mount and PID namespaces of its own, which sees the
// image at /mnt by an overlayfs of its own. The containers of one image share
// its files, although their devices and inodes say otherwise.
func inContainer(image, below string) *exec.Cmd {
	return unshare("mount -t overlay -o lowerdir="+image+":"+below+" none /mnt", "/mnt/worker")
}

// Containers of one image: each process has one span a call, however they are
// named, and those that start later have, too.
func TestContainersOfOneImage(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	exe, below := buildWorker(t), t.TempDir()
	one := image(t, exe)
	a, b := startWorker(t, "a", inContainer(one, below)), startWorker(t, "b", inContainer(one, below))
	pidA, pidB := strconv.Itoa(leaf(a.Process.Pid)), strconv.Itoa(leaf(b.Process.Pid))
	statA, statB := stat(t, "/proc/"+pidA+"/exe"), stat(t, "/proc/"+pidB+"/exe")
	if os.SameFile(statA, statB) {
		t.Fatal("stat tells nothing apart here: the test is of no use")
	}

	for _, targets := range [][]string{{pidA, pidB}, {"/mnt/worker"}, {"/proc/" + pidA + "/exe"}, {filepath.Join(one, "worker")}, {pidB, "/mnt/worker"}} {
		t.Run(strings.Join(targets, " "), func(t *testing.T) {
			u := startTracer(t, uspan, targets...)
			if n := strings.Count(u.stderr.String(), "uspan: tracing "); n != 1 {
				t.Errorf("uspan has made %d executables of one:\n%s", n, &u.stderr)
			}
			u.says(t, `(pids `+pidA+`, `+pidB+`|every process, 2 running)`)
			want := map[string]int{"a": 1000, "b": 2000}
			a.work(t, 1000)
			b.work(t, 2000)
			later := startWorker(t, "later", inContainer(one, below))
			later.work(t, 3000)
			if targets[0] != pidA {
				want["later"] = 3000
			}
			checkCalls(t, u.finish(t), want)
			later.end()
			later.Wait()
		})
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Other files by the same path, in containers of other images: a copy of the
// executable, another program, and what is no Go program at all, which is said.
func TestContainersOfOtherImages(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	exe, other, below := buildWorker(t), buildWorker(t, "-ldflags=-X=main.version=two"), t.TempDir()
	one := image(t, exe)
	a := startWorker(t, "a", inContainer(one, below))
	b := startWorker(t, "b", inContainer(one, below))
	copied := startWorker(t, "copy", inContainer(image(t, exe), below))
	c := startWorker(t, "other", inContainer(image(t, other), below))
	inC := image(t, "/bin/sh")
	foreign := startWorker(t, "foreign", unshare("mount -t overlay -o lowerdir="+inC+":"+below+" none /mnt",
		"/mnt/worker", "-c", "echo ready sh; read line"))
	u := startTracer(t, uspan, "/mnt/worker")
	u.tracesAll(t, 3)
	a.work(t, 1000)
	b.work(t, 2000)
	copied.work(t, 3000)
	c.work(t, 4000)
	u.isWell(t, uspan[0]) // what cannot be traced is said when uspan starts, once
	checkCalls(t, u.finish(t), map[string]int{"a": 1000, "b": 2000, "copy": 3000, "other": 4000})
	u.says(t, fmt.Sprintf(`not traced: /mnt/worker of process %d: `, leaf(foreign.Process.Pid)))

	pids := make(map[string]int)
	for name, w := range map[string]*worker{"a": a, "b": b, "copy": copied, "other": c} {
		pids[name] = leaf(w.Process.Pid)
	}
	u = startTracer(t, uspan, fmt.Sprintf("/proc/%d/exe", pids["other"]))
	u.says(t, `every process, 1 running`)
	a.work(t, 1000)
	c.work(t, 2000)
	checkCalls(t, u.finish(t), map[string]int{"other": 2000})
	u = startTracer(t, uspan, strconv.Itoa(pids["a"]), strconv.Itoa(pids["copy"]), strconv.Itoa(pids["other"]))
	u.tracesAll(t, 3)
	a.work(t, 1000)
	b.work(t, 2000)
	copied.work(t, 3000)
	c.work(t, 4000)
	checkCalls(t, u.finish(t), map[string]int{"a": 1000, "copy": 3000, "other": 4000})
}

// A new version of an image comes beside the old one, and then goes the old one: it is
// told of the new one once, however many there are, uspan is not well while both run,
// and plans anew when nothing else is left to trace. A uspan that starts has both.
func TestRollout(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	below := t.TempDir()
	one, two := image(t, buildWorker(t)), image(t, buildWorker(t, "-ldflags=-X=main.version=two"))
	a := startWorker(t, "a", inContainer(one, below))
	u := startTracer(t, uspan, "/mnt/worker")
	u.isWell(t, uspan[0])
	b := startWorker(t, "b", inContainer(two, below))
	startWorker(t, "c", inContainer(two, below))
	u.awaits(t, `process \d+ runs a new file as /mnt/worker: it is not traced`)
	out, err := exec.Command(uspan[0], "status", strconv.Itoa(u.Process.Pid)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), " run another file as /mnt/worker than the one that is traced") {
		t.Errorf("uspan status: %v\n%s", err, out)
	}
	both := startTracer(t, uspan, "/mnt/worker")
	both.tracesAll(t, 2)
	a.work(t, 100)
	b.work(t, 200)
	both.isWell(t, uspan[0])
	checkCalls(t, both.finish(t), map[string]int{"a": 100, "b": 200})

	a.end()
	u.awaits(t, `uspan: nothing of /mnt/worker that is traced runs any more, but processes \d+, \d+ run a new file by that path: planning anew`)
	u.tracesAll(t, 2)
	u.isWell(t, uspan[0])
	b.work(t, 300)
	if n := strings.Count(u.stderr.String(), " runs a new file as "); n != 1 {
		t.Errorf("uspan tells %d times of one file:\n%s", n, &u.stderr)
	}
	checkCalls(t, u.finish(t), map[string]int{"a": 100, "b": 300})
}

// A path where nothing runs yet is waited for while others are traced; alone, it is an
// error.
func TestAbsentTarget(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	out, err := exec.Command(uspan[0], "attach", "/mnt/worker").CombinedOutput()
	if want := "uspan: stat /mnt/worker: no such file or directory, and no process runs it\n"; err == nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
	below, one := t.TempDir(), image(t, buildWorker(t))
	a := startWorker(t, "a", inContainer(one, below))
	u := startTracer(t, uspan, "/srv/worker", "/mnt/worker")
	u.says(t, `stat /srv/worker: no such file or directory, and no process runs it: waiting for that`)
	a.work(t, 100)
	u.isWell(t, uspan[0])
	b := startWorker(t, "b", unshare("mount -t overlay -o lowerdir="+image(t, buildWorker(t, "-ldflags=-X=main.version=two"))+":"+below+" none /srv", "/srv/worker"))
	u.awaits(t, `uspan: process \d+ runs /srv/worker now: planning anew`)
	u.tracesAll(t, 3)
	b.work(t, 300)
	checkCalls(t, u.finish(t), map[string]int{"a": 100, "b": 300})
	u = startTracer(t, uspan, "/srv/worker", "/mnt/worker")
	u.tracesAll(t, 2)
	a.work(t, 200)
	b.work(t, 300)
	checkCalls(t, u.finish(t), map[string]int{"a": 200, "b": 300})
}

// A container is replaced by one of a new image while uspan traces nothing of it.
func TestReplacedContainer(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	below := t.TempDir()
	one, two := image(t, buildWorker(t)), image(t, buildWorker(t, "-ldflags=-X=main.version=two"))
	a := startWorker(t, "a", inContainer(one, below))
	u := startTracer(t, uspan, "/mnt/worker")
	a.end()
	a.Wait()
	again := startWorker(t, "again", inContainer(one, below))
	again.work(t, 100)
	u.tellsOf(t, "again")
	u.isWell(t, uspan[0])
	again.end()
	again.Wait()
	b := startWorker(t, "b", inContainer(two, below))
	u.awaits(t, `but process \d+ runs a new file by that path: planning anew`)
	u.tracesAll(t, 2)
	b.work(t, 200)
	checkCalls(t, u.finish(t), map[string]int{"again": 100, "b": 200})
}

// The same on the host: a file is replaced, and its program started again.
func TestReplacedFile(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	dir := t.TempDir()
	exe := filepath.Join(dir, "worker")
	link(t, buildWorker(t), exe)
	a := startWorker(t, "a", exec.Command(exe))
	u := startTracer(t, uspan, exe)
	link(t, buildWorker(t, "-ldflags=-X=main.version=two"), exe+".new")
	if err := os.Rename(exe+".new", exe); err != nil {
		t.Fatal(err)
	}
	u.awaits(t, exe+` is a new file: its processes are not traced`)
	u.isWell(t, uspan[0]) // nobody runs it
	b := startWorker(t, "b", exec.Command(exe))
	out, err := exec.Command(uspan[0], "status", strconv.Itoa(u.Process.Pid)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), " runs another file as "+exe) {
		t.Errorf("uspan status: %v\n%s", err, out)
	}
	a.work(t, 100)
	a.end()
	u.awaits(t, `nothing of `+exe+` that is traced runs any more, but process \d+ runs a new file by that path: planning anew`)
	u.tracesAll(t, 2)
	b.work(t, 200)
	checkCalls(t, u.finish(t), map[string]int{"a": 100, "b": 200})
}

// A file is written anew in place while nobody runs it, and not at once.
func TestWrittenFile(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	exe := filepath.Join(t.TempDir(), "worker")
	copyFile(t, buildWorker(t), exe)
	u := startTracer(t, uspan, exe)
	a := startWorker(t, "a", exec.Command(exe))
	a.work(t, 100)
	a.end()
	second, err := os.ReadFile(buildWorker(t, "-ldflags=-X=main.version=two"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(exe, os.O_WRONLY|os.O_TRUNC, 0) // waits until the probes are gone
	for deadline := time.Now().Add(10 * time.Second); errors.Is(err, syscall.ETXTBSY) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // until the kernel has cleared away what the worker was
		file, err = os.OpenFile(exe, os.O_WRONLY|os.O_TRUNC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(second[:len(second)/2]); err != nil {
		t.Fatal(err)
	}
	u.awaits(t, `somebody writes into `+exe+`, which has no probes any more: planning anew`)
	time.Sleep(time.Second)
	if _, err := file.Write(second[len(second)/2:]); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	u.tracesAll(t, 2)
	b := startWorker(t, "b", exec.Command(exe))
	b.work(t, 200)
	checkCalls(t, u.finish(t), map[string]int{"a": 100, "b": 200})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// isWell asks uspan how it is.
func (u *tracer) isWell(t *testing.T, uspan string) {
	t.Helper()
	if out, err := exec.Command(uspan, "status", strconv.Itoa(u.Process.Pid)).CombinedOutput(); err != nil {
		t.Errorf("uspan status: %v\n%s", err, out)
	}
}

// tracesAll waits until uspan traces so many executables.
func (u *tracer) tracesAll(t *testing.T, n int) {
	t.Helper()
	u.awaits(t, `(?s)`+strings.Repeat(`uspan: tracing .*`, n))
}

// awaits waits until uspan has written a text.
func (u *tracer) awaits(t *testing.T, text string) {
	t.Helper()
	for range 6000 {
		if regexp.MustCompile(text).MatchString(u.stderr.String()) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	u.says(t, text)
}
