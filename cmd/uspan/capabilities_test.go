package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
)

// An ordinary user may trace where the executable has the capabilities that the
// README names: it runs then as a process that may not read its own memory
// through /proc.
func TestFileCapabilities(t *testing.T) {
	kerneltest.Require(t)
	// Not t.TempDir, whose parent only root may enter.
	dir, err := os.MkdirTemp("", "uspan-capabilities-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", dir, ".", "../../examples/fibonacci")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	uspan, fibonacci := filepath.Join(dir, "uspan"), filepath.Join(dir, "fibonacci")
	own := []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE}
	setCapabilities(t, uspan, own...)
	traces(t, uspan, "run", "--", fibonacci, "-n", "1")

	target := exec.Command(fibonacci)
	if err := target.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Process.Kill(); target.Wait() })
	// /proc/PID/auxv and environ are their owner's to read.
	setCapabilities(t, uspan, append(own, unix.CAP_DAC_READ_SEARCH)...)
	traces(t, uspan, "attach", "--for", "1s", strconv.Itoa(target.Process.Pid))
	traces(t, uspan, "attach", "--for", "1s", fibonacci)
}

// traces runs uspan as nobody and expects calls of fibonacci in its tree.
func traces(t *testing.T, uspan string, args ...string) {
	t.Helper()
	cmd := exec.Command(uspan, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("main.compute(")) || !bytes.Contains(output, []byte(" 0 lost")) {
		t.Errorf("uspan %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// setCapabilities lets an executable have capabilities, permitted and effective
// (struct vfs_cap_data of include/uapi/linux/capability.h, version 2).
func setCapabilities(t *testing.T, path string, capabilities ...int) {
	t.Helper()
	var permitted uint64
	for _, capability := range capabilities {
		permitted |= 1 << capability
	}
	const version2, effective = 0x02000000, 1
	data := make([]byte, 20)
	binary.LittleEndian.PutUint32(data, version2|effective)
	binary.LittleEndian.PutUint32(data[4:], uint32(permitted))
	binary.LittleEndian.PutUint32(data[12:], uint32(permitted>>32))
	if err := unix.Setxattr(path, "security.capability", data, 0); err != nil {
		kerneltest.Missing(t, "no file capabilities here: %v", err)
	}
}
