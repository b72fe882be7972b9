package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
)

// buildScratch builds an image that has executables and nothing else; files maps
// their names in its root to where they are now.
func (d *docker) buildScratch(t *testing.T, tag string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	dockerfile := "FROM scratch\n"
	for name, from := range files {
		mkdir(t, filepath.Dir(filepath.Join(dir, name)))
		link(t, from, filepath.Join(dir, name))
		dockerfile += "COPY " + name + " /" + name + "\nENTRYPOINT [\"/" + name + "\"]\n"
	}
	write(t, filepath.Join(dir, "Dockerfile"), dockerfile)
	d.docker(t, "build", "-q", "-t", tag, dir)
}

// run is the command that runs a container, and ends with it.
func (d *docker) run(name string, args ...string) *exec.Cmd {
	return exec.Command("docker", append([]string{"--host", d.host, "run", "--rm", "--name", name, "--network", "none"}, args...)...)
}

// startWorker starts a container of an image whose executable is a worker.
func (d *docker) startWorker(t *testing.T, name, image string) *worker {
	t.Helper()
	return startWorker(t, name, d.run(name, "-i", "-e", "WORKER", "-e", "OTEL_SERVICE_NAME", image))
}

func (d *docker) containerID(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(d.docker(t, "inspect", "-f", "{{.Id}}", name))
}

// pid is the process ID of a container's first process, as the machine has it.
func (d *docker) pid(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(d.docker(t, "inspect", "-f", "{{.State.Pid}}", name))
}

// checkContainer checks what a span says of a process that is the first of its
// container.
func (d *docker) checkContainer(t *testing.T, resource map[string]any, name string) {
	t.Helper()
	id := d.containerID(t, name)
	checkResource(t, resource, map[string]any{
		"service.name":            name,
		"process.pid":             int64(1),
		"process.executable.path": "/worker",
		"container.id":            id,
		"host.name":               id[:12],
	})
}

// Containers of one image, traced from the host by the path that they have their
// executable at: those that run, and those that start later.
func TestDockerContainersOfOneImage(t *testing.T) {
	kerneltest.Require(t)
	engine := startDocker(t)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	engine.buildScratch(t, "worker", map[string]string{"worker": buildWorker(t)})
	engine.buildScratch(t, "other", map[string]string{"worker": buildWorker(t, "-ldflags=-X=main.version=two")})
	a, b := engine.startWorker(t, "worker-a", "worker"), engine.startWorker(t, "worker-b", "worker")
	u := startTracer(t, uspan, "/worker")
	u.says(t, `tracing 1 function of /worker \(every process, 2 running\)`)
	a.work(t, 1000)
	b.work(t, 2000)
	later := engine.startWorker(t, "later", "worker")
	later.work(t, 3000)
	other := engine.startWorker(t, "other", "other")
	other.work(t, 4000)
	u.awaits(t, `\(container `+engine.containerID(t, "other")[:12]+`\) runs a new file as /worker: it is not traced`)
	resources := checkCalls(t, u.finish(t), map[string]int{"worker-a": 1000, "worker-b": 2000, "later": 3000})
	for name, resource := range resources {
		engine.checkContainer(t, resource, name)
	}

	u = startTracer(t, uspan, "/worker")
	u.tracesAll(t, 2)
	a.work(t, 1000)
	other.work(t, 4000)
	checkCalls(t, u.finish(t), map[string]int{"worker-a": 1000, "other": 4000})

	u = startTracer(t, uspan, engine.pid(t, "worker-a"), engine.pid(t, "worker-b"), engine.pid(t, "other"))
	u.tracesAll(t, 2)
	a.work(t, 1000)
	b.work(t, 2000)
	later.work(t, 3000)
	other.work(t, 4000)
	for name, resource := range checkCalls(t, u.finish(t), map[string]int{"worker-a": 1000, "worker-b": 2000, "other": 4000}) {
		engine.checkContainer(t, resource, name)
	}
}

// Containers whose root is nobody's of the machine: the daemon gives them a user
// namespace of their own.
func TestDockerUserNamespace(t *testing.T) {
	kerneltest.Require(t)
	const root = 300000
	engine := startDockerRemapped(t, root)
	uspan := []string{filepath.Join(build(t, "./cmd/uspan"), "uspan")}
	engine.buildScratch(t, "worker", map[string]string{"worker": buildWorker(t)})
	a, b := engine.startWorker(t, "worker-a", "worker"), engine.startWorker(t, "worker-b", "worker")
	for _, name := range []string{"worker-a", "worker-b"} {
		ids := strings.Fields(read(t, "/proc/"+engine.pid(t, name)+"/uid_map"))
		if len(ids) != 3 || ids[0] != "0" || ids[1] != strconv.Itoa(root) {
			t.Fatalf("the user IDs of %s are %q", name, ids)
		}
	}
	u := startTracer(t, uspan, "/worker")
	a.work(t, 1000)
	b.work(t, 2000)
	later := engine.startWorker(t, "later", "worker")
	later.work(t, 3000)
	for name, resource := range checkCalls(t, u.finish(t), map[string]int{"worker-a": 1000, "worker-b": 2000, "later": 3000}) {
		engine.checkContainer(t, resource, name)
	}

	u = startTracer(t, uspan, engine.pid(t, "worker-a"), engine.pid(t, "worker-b"))
	a.work(t, 1000)
	b.work(t, 2000)
	later.work(t, 3000)
	for name, resource := range checkCalls(t, u.finish(t), map[string]int{"worker-a": 1000, "worker-b": 2000}) {
		engine.checkContainer(t, resource, name)
	}
}

// Uspan in a container that shares the PID namespace of another, as sidecars do,
// with the least that works: it traces that one, and no other container of the
// image. The worker is root's, as uspan is, or another user's.
func TestDockerSidecar(t *testing.T) {
	kerneltest.Require(t)
	engine := startDocker(t, bpfRuntime(t))
	engine.buildScratch(t, "worker", map[string]string{"worker": buildWorker(t)})
	engine.buildScratch(t, "uspan", map[string]string{"uspan": filepath.Join(build(t, "./cmd/uspan"), "uspan")})
	for _, test := range []struct {
		name, user, runtime string
		capabilities        []string
		target              string
		// refusal is what uspan says where that is too little.
		refusal string
	}{
		// As in docker-compose.yml.
		{"by path", "0", "runc", []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}, "/worker", ""},
		{"by process id", "0", "runc", []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}, "1", ""},
		{"of another user", "65534", "runc", []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}, "/worker", ""},
		{"of the same user", "0", "runc", []string{"SYS_ADMIN", "SYS_PTRACE"}, "/worker", ""},
		{"with CAP_BPF and CAP_PERFMON", "0", "bpf", []string{"SYS_ADMIN", "SYS_PTRACE"}, "/worker", ""},
		{"with CAP_BPF and CAP_PERFMON, of another user", "65534", "bpf", []string{"SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"}, "/worker", ""},

		{"without CAP_SYS_ADMIN", "0", "runc", []string{"SYS_PTRACE", "DAC_READ_SEARCH"}, "1", "CAP_BPF"},
		{"without CAP_SYS_PTRACE", "0", "runc", []string{"SYS_ADMIN", "DAC_READ_SEARCH"}, "1", "CAP_SYS_PTRACE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			startAs := func(name string) *worker {
				return startWorker(t, name, engine.run(name, "-i", "-e", "WORKER", "-e", "OTEL_SERVICE_NAME", "--user="+test.user, "worker"))
			}
			a, b := startAs("worker-a"), startAs("worker-b")
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			args := []string{"--pid=container:worker-a", "--runtime=" + test.runtime, "--cap-drop=ALL"}
			for _, capability := range test.capabilities {
				args = append(args, "--cap-add="+capability)
			}
			args = append(args, "--security-opt=no-new-privileges", "--read-only", "-v", dir+":/spans",
				"uspan", "attach", "-f", "main.work", "-o", "json=/spans/spans.json", test.target)
			if test.refusal != "" {
				out, err := engine.run("uspan", args...).CombinedOutput()
				if err == nil || !strings.Contains(string(out), test.refusal) {
					t.Errorf("%v\n%s", err, out)
				}
				a.work(t, 1)
				return
			}
			u := start(t, filepath.Join(dir, "spans.json"), engine.run("uspan", args...))
			a.work(t, 1000)
			b.work(t, 2000)
			resource := checkCalls(t, u.finish(t), map[string]int{"worker-a": 1000})["worker-a"]
			if test.runtime == "bpf" { // to enter another UTS namespace takes CAP_SYS_ADMIN
				if name, found := resource["host.name"]; found {
					t.Errorf("host.name is %v", name)
				}
				resource["host.name"] = engine.containerID(t, "worker-a")[:12]
			}
			engine.checkContainer(t, resource, "worker-a")
		})
	}
}

// The memory that a container may still use bounds its probes, seen from a
// container beside it, too.
func TestDockerMemoryLimit(t *testing.T) {
	kerneltest.Require(t)
	engine := startDocker(t)
	engine.buildScratch(t, "worker", map[string]string{"worker": buildWorker(t)})
	engine.buildScratch(t, "uspan", map[string]string{"uspan": filepath.Join(build(t, "./cmd/uspan"), "uspan")})
	for _, test := range []struct {
		memory  string
		refused bool
	}{{"6m", true}, {"1g", false}} {
		name := "limit-" + test.memory
		w := startWorker(t, name, engine.run(name, "-i", "-e", "WORKER", "-e", "OTEL_SERVICE_NAME", "--memory="+test.memory, "worker"))
		out, err := engine.run("uspan", "--pid=container:"+name,
			"--cap-drop=ALL", "--cap-add=SYS_PTRACE", "--cap-add=DAC_READ_SEARCH", "--cap-add=SYS_ADMIN",
			"uspan", "attach", "-f", "*", "--for", "10ms", "-o", "json=/dev/null", "1").CombinedOutput()
		refused := strings.Contains(string(out), "process 1: the probes need ") && strings.Contains(string(out), " KiB of its memory, and its cgroup has ")
		if refused != test.refused || (err != nil) != test.refused {
			t.Errorf("with a limit of %s: %v\n%s", test.memory, err, out)
		}
		w.work(t, 1)
	}
}
