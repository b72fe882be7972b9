package testprog

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts a command, and waits until its process runs the program. Linux 6.12 tells
// whoever starts one sooner: what is closed for the execution is closed when /proc/PID/exe
// is still the file of the parent.
func Start(command *exec.Cmd) error {
	program, err := os.Stat(command.Path)
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(100 * time.Microsecond) {
		runs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", command.Process.Pid))
		if err != nil || os.SameFile(program, runs) {
			return nil //nolint:nilerr // it has ended
		}
	}
	return errors.Join(fmt.Errorf("%s does not execute", command), command.Process.Kill(), command.Wait())
}

// StartBusy starts a command that is busy all the time. On an emulated machine it gets
// the processors when nothing else wants them.
func StartBusy(command *exec.Cmd) error {
	if os.Getenv("GUEST") == "" {
		return Start(command)
	}
	// Its first thread, and all that this makes, have the priority of the thread that
	// starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	usual, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	// The system call returns 20 for a priority of 0, and 1 for one of 19.
	return errors.Join(Start(command), unix.Setpriority(unix.PRIO_PROCESS, 0, 20-usual))
}
