package instrument_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// On kernels that are too old there is one clear refusal, and a command is not run.
func TestBelowFloor(t *testing.T) {
	uspan, exe := testprog.Command(t, "../cmd/uspan"), build(t, "counting")
	kerneltest.RequireRoot(t)
	if features.HaveProgramHelper(ebpf.Kprobe, asm.FnLoop) == nil {
		// Nor is any other refused so.
		var stderr bytes.Buffer
		command := exec.Command(uspan, "run", "-q", "-f", "main.short", "-o", "json="+os.DevNull, "--", exe)
		command.Stderr = &stderr
		if err := command.Run(); err != nil || strings.Contains(stderr.String(), "does not run on this kernel") {
			t.Errorf("%v: %s", err, stderr.String())
		}
		return
	}
	const want = "uspan: uspan does not run on this kernel, which has no cookies for probes (Linux 5.15): Linux 6.1 or later is needed, with BTF; 'uspan doctor' tells more\n"
	target := startBusy(t, exe)
	for name, test := range map[string]struct {
		args   []string
		status int
	}{
		"run":    {[]string{"run", "-f", "main.*", "--", exe}, 125},
		"attach": {[]string{"attach", "-f", "main.*", target.pid()}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			command := exec.Command(uspan, test.args...)
			command.Stdout, command.Stderr = &stdout, &stderr
			var exit *exec.ExitError
			if err := command.Run(); !errors.As(err, &exit) || exit.ExitCode() != test.status {
				t.Errorf("uspan ended with %v, not %d", err, test.status)
			}
			if stderr.String() != want {
				t.Errorf("it said %q, not %q", stderr.String(), want)
			}
			if stdout.Len() > 0 {
				t.Errorf("the command was run: %q", stdout.String())
			}
		})
	}
	target.finish(t)
}

// So is there on kernels without BTF, which this one is not: its file is hidden.
func TestNoBTF(t *testing.T) {
	uspan, exe := testprog.Command(t, "../cmd/uspan"), build(t, "counting")
	kerneltest.Require(t)
	var stderr bytes.Buffer
	command := exec.Command(uspan, "run", "-f", "main.*", "--", exe)
	command.Stderr = &stderr
	command.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(exe))
	if err := withoutBTF(command); err == nil {
		t.Error("uspan ran")
	}
	const want = "which has no BTF (/sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF)"
	if lines := strings.Count(stderr.String(), "\n"); lines != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("it said %q, which is not one line with %q", stderr.String(), want)
	}
}

// withoutBTF runs a command in a mount namespace where an empty directory is over
// the file. The thread that has made it ends with its goroutine.
func withoutBTF(command *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		for _, step := range []func() error{
			func() error { return unix.Unshare(unix.CLONE_NEWNS) },
			func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
			func() error { return unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, "") },
			command.Run,
		} {
			if err := step(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return <-done
}
