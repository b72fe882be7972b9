package target

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ExitStatus says how a process ended that has ended, as far as that can be
// known: of a child of uspan always; of others from Linux 6.15 on, and before
// while its parent has not waited for it. ok is false where it cannot.
func (p *Process) ExitStatus() (status Status, ok bool) {
	if p.child != nil {
		status, err := p.Wait()
		return status, err == nil
	}
	// The parent may collect it between one way and the next.
	for _, way := range []func() (unix.WaitStatus, bool){p.exitOfPidfd, p.exitOfZombie, p.exitOfPidfd} {
		if wait, ok := way(); ok {
			return statusOf(wait), true
		}
	}
	return Status{}, false
}

// exitOfPidfd asks the pidfd, which knows once the process was waited for.
func (p *Process) exitOfPidfd() (unix.WaitStatus, bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err := p.control(func(fd uintptr) error { return unix.IoctlPidfdInfo(int(fd), &info) })
	return unix.WaitStatus(info.Exit_code), err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0
}

// exitOfZombie reads the last field of /proc/PID/stat, exit_code, which is shown
// to those who may trace the process (proc_pid_stat(5)).
func (p *Process) exitOfZombie() (unix.WaitStatus, bool) {
	text, err := os.ReadFile(procPath(p.pid, "stat"))
	if err != nil {
		return 0, false
	}
	s, err := parseStat(text)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	// Another process with this id would have started later.
	if err != nil || !s.zombie() || s.started != p.started || len(fields) < 50 {
		return 0, false
	}
	code, err := strconv.Atoi(fields[49])
	if err != nil {
		return 0, false
	}
	return unix.WaitStatus(code), true
}

// statusOf is a status as wait(2) has it.
func statusOf(wait unix.WaitStatus) Status {
	if wait.Signaled() {
		return Status{Signal: wait.Signal(), CoreDumped: wait.CoreDump()}
	}
	return Status{Code: wait.ExitStatus()}
}
