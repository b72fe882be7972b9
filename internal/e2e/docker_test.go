package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
)

// docker is a Docker daemon of a test's own: in its own network and mount
// namespaces, with its own files. What it does to bridges, to iptables and to
// mounts is gone with it, and nothing clashes with the machine's own Docker.
type docker struct {
	host    string // for DOCKER_HOST
	network int    // file descriptor of its network namespace

	daemon *exec.Cmd
	ended  chan struct{}
	log    bytes.Buffer // complete when it has ended
}

// startDocker runs a daemon with some flags until the test ends. Where the machine has not got
// what it needs (Debian's docker.io, docker-compose and iproute2, or their
// like), or no daemon runs on it: see noDocker.
func startDocker(t *testing.T, flags ...string) *docker { return startDockerUnder(t, nil, flags...) }

// startDockerUnder is startDocker with another command in front, that starts
// the daemon and ends as the daemon does.
func startDockerUnder(t *testing.T, command []string, flags ...string) *docker {
	t.Helper()
	for _, name := range []string{"dockerd", "docker", "docker-compose", "ip"} {
		if _, err := exec.LookPath(name); err != nil {
			noDocker(t, "needs %s", name)
		}
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	d := &docker{host: "unix://" + socket, ended: make(chan struct{})}
	d.daemon = exec.Command("sh", slices.Concat([]string{"-c", `ip link set lo up && exec "$@"`, "sh"}, command, []string{"dockerd",
		"--host=" + d.host, "--pidfile=" + filepath.Join(dir, "pid"),
		"--data-root=" + filepath.Join(dir, "data"), "--exec-root=" + filepath.Join(dir, "exec")}, flags)...)
	d.daemon.Stdout, d.daemon.Stderr = &d.log, &d.log
	d.daemon.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGTERM, // it stops its containers then
	}
	if err := d.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_ = d.daemon.Wait()
	}()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", warnings(d.log.String()))
		}
	})

	d.awaitReady(t, socket, command)
	var err error
	d.network, err = unix.Open(fmt.Sprintf("/proc/%d/ns/net", d.daemon.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(d.network) })
	return d
}

// startDockerRemapped is startDocker with a user namespace for the containers, whose
// root is the machine's user of the ID.
func startDockerRemapped(t *testing.T, root int) *docker {
	t.Helper()
	ids := filepath.Join(t.TempDir(), "ids")
	write(t, ids, fmt.Sprintf("65534:%d:65536\n", root))
	// It goes through the directories of the test to the files of its image.
	for dir := filepath.Dir(filepath.Dir(ids)); dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return startDockerUnder(t, []string{"sh", "-c",
		`mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"`, ids}, "--userns-remap=65534:65534")
}

// noDocker ends a test that the machine has not got the Docker for: as one that
// misses something else, and skipped in any case where REQUIRE_DOCKER is 0.
func noDocker(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("REQUIRE_DOCKER") == "0" {
		t.Skipf(format, args...)
	}
	kerneltest.Missing(t, format, args...)
}

// stop asks the daemon to end, and waits until it has.
func (d *docker) stop() {
	select {
	case <-d.ended:
	default:
		_ = d.daemon.Process.Signal(syscall.SIGTERM)
		<-d.ended
	}
}

func (d *docker) awaitReady(t *testing.T, socket string, command []string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-d.ended:
			if len(command) > 0 {
				t.Fatalf("dockerd does not run under %s", command[0])
			}
			noDocker(t, "dockerd does not run here:\n%s", warnings(d.log.String()))
		case <-deadline:
			t.Fatalf("dockerd is not ready: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// docker runs the docker command and returns what it prints.
func (d *docker) docker(t *testing.T, args ...string) string {
	t.Helper()
	return d.command(t, "docker", args...)
}

// compose runs docker-compose on files and returns what it prints.
func (d *docker) compose(t *testing.T, files []string, args ...string) string {
	t.Helper()
	all := []string{"-p", "uspan-test"}
	for _, file := range files {
		all = append(all, "-f", file)
	}
	return d.command(t, "docker-compose", append(all, args...)...)
}

func (d *docker) command(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+d.host, "DOCKER_BUILDKIT=0")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// client is an HTTP client in the daemon's network namespace, on whose loopback
// the published ports are.
func (d *docker) client() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		// A socket belongs to the namespace of the thread that makes it.
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer unix.Close(home)
		if err := unix.Setns(d.network, unix.CLONE_NEWNET); err != nil {
			return nil, err
		}
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, address)
		// A thread that cannot come home stays locked, so that nobody gets it.
		if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
			return nil, errors.Join(err, back)
		}
		runtime.UnlockOSThread()
		return conn, err
	}}
	return &http.Client{Transport: transport}
}

// warnings are the lines of the daemon's log that say more than that it works.
func warnings(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "level=info") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
