package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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
// executable is traced with it, another program is told apart.
func TestContainersOfOtherImages(t *testing.T) {
	requireNamespaces(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	exe, other, below := buildWorker(t), buildWorker(t, "-ldflags=-X=main.version=two"), t.TempDir()
	one := image(t, exe)
	a := startWorker(t, "a", inContainer(one, below))
	b := startWorker(t, "b", inContainer(one, below))
	copied := startWorker(t, "copy", inContainer(image(t, exe), below))
	u := startTracer(t, uspan, "/mnt/worker")
	a.work(t, 1000)
	b.work(t, 2000)
	copied.work(t, 3000)
	checkCalls(t, u.finish(t), map[string]int{"a": 1000, "b": 2000, "copy": 3000})

	c := startWorker(t, "other", inContainer(image(t, other), below))
	pids := make(map[string]int)
	for name, w := range map[string]*worker{"a": a, "b": b, "copy": copied, "other": c} {
		pids[name] = leaf(w.Process.Pid)
	}
	out, err := exec.Command(uspan[0], "attach", "-f", "main.work", "/mnt/worker").CombinedOutput()
	for _, want := range []string{
		"uspan: /mnt/worker is 2 different programs in different containers: ",
		fmt.Sprintf("that of processes %d, %d, %d,", pids["a"], pids["b"], pids["copy"]),
		fmt.Sprintf("that of process %d:", pids["other"]),
		fmt.Sprintf("/proc/%d/exe", pids["a"]),
	} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("uspan does not say %q, but: %v\n%s", want, err, out)
		}
	}
	u = startTracer(t, uspan, fmt.Sprintf("/proc/%d/exe", pids["other"]))
	u.says(t, `every process, 1 running`)
	a.work(t, 1000)
	c.work(t, 2000)
	checkCalls(t, u.finish(t), map[string]int{"other": 2000})
	u = startTracer(t, uspan, strconv.Itoa(pids["a"]), strconv.Itoa(pids["copy"]), strconv.Itoa(pids["other"]))
	a.work(t, 1000)
	b.work(t, 2000)
	copied.work(t, 3000)
	c.work(t, 4000)
	checkCalls(t, u.finish(t), map[string]int{"a": 1000, "copy": 3000, "other": 4000})
}
