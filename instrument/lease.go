package instrument

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A lease on an executable keeps others from writing into it (cp, rsync --inplace)
// while it has probes. The kernel itself keeps them from that only while a process
// runs it: where every process is traced, now and later, there may be none for a
// while, and what is written then would run with the probes of what was there before.
//
// Who opens the file to write waits in open(2) until the probes are gone and the lease
// is released (fcntl(2), F_SETLEASE; at most /proc/sys/fs/lease-break-time). Not every
// file system has leases, nor may everybody take them (CAP_LEASE, where the file is
// another user's): then what the file was is compared with what it is, once a second.
type lease struct {
	file  *os.File
	taken bool
	was   fileID
}

// leaseSignal comes where somebody waits, which is looked for anyway: one that the Go
// runtime ignores, and that no command is sent.
const leaseSignal = unix.SIGURG

// writerPatience is how long it may take to write an executable.
const writerPatience = 10 * time.Second

// takeLease waits until nobody has the file open to write, within limits.
func takeLease(file *os.File, path string) (lease, error) {
	l := lease{file: file}
	for deadline := time.Now().Add(writerPatience); ; time.Sleep(50 * time.Millisecond) {
		_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		if errors.Is(err, unix.EAGAIN) && time.Now().Before(deadline) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return l, fmt.Errorf("%s is being written: somebody has it open for that", path)
		}
		if l.taken = err == nil; l.taken {
			if _, err := unix.FcntlInt(file.Fd(), unix.F_SETSIG, int(leaseSignal)); err != nil {
				return l, fmt.Errorf("set the signal of a lease on %s: %w", path, err)
			}
		}
		info, err := file.Stat()
		if err != nil {
			return l, err
		}
		l.was = fileIDOf(info)
		return l, nil
	}
}

// broken says whether somebody writes into the file, or wants to and waits. Where a
// process runs it, what has changed is no more than its times.
func (l *lease) broken(runs func() bool) bool {
	if l.taken {
		kind, err := unix.FcntlInt(l.file.Fd(), unix.F_GETLEASE, 0)
		return err != nil || kind != unix.F_RDLCK
	}
	info, err := l.file.Stat()
	if err != nil || fileIDOf(info) == l.was {
		return err != nil
	}
	if runs() {
		l.was = fileIDOf(info)
		return false
	}
	return true
}
