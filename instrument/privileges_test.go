package instrument_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// Uprobes as perf events want CAP_SYS_ADMIN, since CVE-2025-38466 also where a
// kernel has CAP_PERFMON: uspan says so, and goes by it. Links of uprobe_multi do not.
func TestPerfEventPrivileges(t *testing.T) {
	uspan, exe := testprog.Command(t, "../cmd/uspan"), build(t, "counting")
	kerneltest.Require(t)
	// Not t.TempDir, whose parent only root may enter.
	dir, err := os.MkdirTemp("", "uspan-privileges-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []*string{&uspan, &exe} {
		data, err := os.ReadFile(*path)
		if err != nil {
			t.Fatal(err)
		}
		*path = filepath.Join(dir, filepath.Base(*path))
		if err := os.WriteFile(*path, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(capabilities ...uintptr) (string, error) {
		command := exec.Command(uspan, "run", "-o", "json="+os.DevNull, "-f", "main.short", "--", exe)
		var stderr bytes.Buffer
		command.Stderr = &stderr
		command.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
			AmbientCaps: capabilities,
		}
		err := command.Run()
		return stderr.String(), err
	}
	const traced = " spans, 0 lost, 0 still open"
	said, err := run(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE)
	t.Logf("without CAP_SYS_ADMIN: %s%v", said, err)
	if kerneltest.UprobeMulti() && err != nil || err == nil && !strings.Contains(said, traced) ||
		err != nil && (strings.Count(said, "\n") != 1 || !strings.Contains(said, "or give it CAP_SYS_ADMIN")) {
		t.Errorf("without CAP_SYS_ADMIN: %s%v", said, err)
	}
	said, err = run(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN)
	if err != nil || !strings.Contains(said, traced) {
		t.Errorf("with CAP_SYS_ADMIN: %s%v", said, err)
	}
}
