package testprog

import (
	"errors"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// StartBusy starts a command that is busy all the time. On an emulated machine it gets
// the processors when nothing else wants them.
func StartBusy(command *exec.Cmd) error {
	if os.Getenv("GUEST") == "" {
		return command.Start()
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
	return errors.Join(command.Start(), unix.Setpriority(unix.PRIO_PROCESS, 0, 20-usual))
}
