package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// initMain is the machine's first process: it mounts what a test expects, runs
// the test, tells its status, and switches the machine off.
func initMain() {
	status, err := serve()
	if err != nil {
		fmt.Printf("guest: in the machine: %v\n", err)
		status = 125
	}
	for _, complaint := range complaints() {
		fmt.Printf("guest: the kernel complained: %s\n", complaint)
		if status == 0 {
			status = 125
		}
	}
	fmt.Printf("%s%d\n", marker, status)
	unix.Sync()
	err = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Println("guest: switch off:", err)
	select {}
}

func serve() (status int, err error) {
	if err := mountAll(); err != nil {
		return 0, err
	}
	data, err := os.ReadFile("/job.json")
	if err != nil {
		return 0, err
	}
	var job job
	if err := json.Unmarshal(data, &job); err != nil {
		return 0, err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return 0, err
	}
	release := unix.ByteSliceToString(name.Release[:])
	fmt.Printf("guest: Linux %s %s\n", release, unix.ByteSliceToString(name.Machine[:]))
	job.Env = append(job.Env, "GUEST="+job.Kernel)
	test := exec.Command(job.Args[0], job.Args[1:]...)
	test.Dir, test.Env = job.Dir, job.Env
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	test.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := test.Start(); err != nil {
		return 0, err
	}
	for {
		// Orphans of the test come here, too.
		var how unix.WaitStatus
		pid, err := unix.Wait4(-1, &how, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for the test: %w", err)
		case pid == test.Process.Pid && how.Signaled():
			return 128 + int(how.Signal()), nil
		case pid == test.Process.Pid:
			return how.ExitStatus(), nil
		}
	}
}

func mountAll() error {
	for _, m := range []struct{ kind, on, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", "ptmxmode=666"},
		{"tmpfs", "/dev/shm", ""},
		{"tmpfs", "/run", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"tracefs", "/sys/kernel/tracing", ""},
		{"bpf", "/sys/fs/bpf", ""},
	} {
		if err := os.MkdirAll(m.on, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.on, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(to, "/dev/"+name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	return loopbackUp()
}

// loopbackUp switches the loopback interface on.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("switch lo on: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("switch lo on: %w", err)
	}
	return nil
}

// complaints are the kernel's messages that a test must not cause.
func complaints() (lines []string) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return []string{"(its messages cannot be read: " + err.Error() + ")"}
	}
	defer unix.Close(fd)
	record := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, record)
		if errors.Is(err, unix.EPIPE) { // some were overwritten
			continue
		}
		if err != nil {
			return lines
		}
		_, message, _ := strings.Cut(string(record[:n]), ";")
		message, _, _ = strings.Cut(message, "\n")
		for _, sign := range []string{"BUG:", "Oops", "WARNING:", "leaking uprobe"} {
			if strings.Contains(message, sign) {
				lines = append(lines, message)
				break
			}
		}
	}
}
