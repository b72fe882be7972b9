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
// another user's): then what the file was is compared with what it is, some ten times a second.
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
func takeLease(file *os.File, path string) (l lease, err error) {
	l.file = file
	deadline := time.Now().Add(writerPatience)
	for ; ; time.Sleep(50 * time.Millisecond) {
		if !isRemote(file) {
			_, err = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
			l.taken = err == nil
		}
		info, statErr := file.Stat()
		if statErr != nil {
			return l, statErr
		}
		l.was = fileIDOf(info)
		switch {
		case l.taken:
			if _, err := unix.FcntlInt(file.Fd(), unix.F_SETSIG, int(leaseSignal)); err != nil {
				return l, fmt.Errorf("set the signal of a lease on %s: %w", path, err)
			}
			return l, nil
		case !errors.Is(err, unix.EAGAIN) && time.Since(l.was.changed) > time.Second:
			return l, nil // as nobody has written for a while
		case time.Now().After(deadline):
			return l, fmt.Errorf("%s is being written: somebody has it open for that", path)
		}
	}
}

// isRemote says whether a file is a server's, which knows of others that write: a lease
// is refused there for other reasons, too.
func isRemote(file *os.File) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return false
	}
	switch uint32(fs.Type) {
	case unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC:
		return true
	}
	return false
}

// broken says whether somebody writes into the file, or wants to and waits.
func (l *lease) broken() bool {
	switch {
	case l.file == nil:
		return false
	case l.taken:
		kind, err := unix.FcntlInt(l.file.Fd(), unix.F_GETLEASE, 0)
		return err != nil || kind != unix.F_RDLCK
	}
	info, err := l.file.Stat()
	return err != nil || fileIDOf(info) != l.was
}

// release lets go of the file, behind the probes.
func (l *lease) release() error {
	if l.file == nil || !l.taken {
		return nil
	}
	_, err := unix.FcntlInt(l.file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	*l = lease{}
	return err
}
