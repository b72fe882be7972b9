package target

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/span"
)

// A Told is what the kernel side tells of a process with its first call: it may
// have ended before it can be opened.
type Told struct {
	// InnerPID is the process id in the process's own PID namespace, which has the
	// inode Namespace. 0: it is not known.
	InnerPID  int
	Namespace uint32
	// Started is when it started, in nanoseconds since the boot.
	Started uint64
	// Host is the host name in its own UTS namespace.
	Host string
	// Environment is what it was started with: the first of Size bytes.
	Environment []byte
	Size        int
}

// tick is a clock tick as /proc has it, in nanoseconds (USER_HZ).
const tick = 1e9 / 100

// Is says whether it is the process that was told of, and not another that has its
// id by now. /proc has its start as it is reckoned in uspan's time namespace.
func (p *Process) Is(t *Told) bool {
	return p.started == uint64(int64(t.Started)+span.OwnClockOffsets().Boottime)/tick
}

// StartedAfter says whether the process started only after a moment on the kernel's
// CLOCK_MONOTONIC, in nanoseconds, so that what was then was another with its id. In
// doubt it did not: where the machine has slept since, the moment seems later than it was.
func (p *Process) StartedAfter(moment uint64) bool {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return false
	}
	age := now.Nano() - int64(p.started*tick)
	return int64(span.Monotonic())-age > int64(moment)
}

func (t *Told) identity() identity {
	return identity{
		pid:       t.InnerPID,
		instance:  instanceID(fmt.Sprintf("pid:[%d]", t.Namespace), t.InnerPID, t.Started/tick),
		host:      t.Host,
		variables: parseVariables(t.Environment),
	}
}

// unread says what of the environment is not there.
func (t *Told) unread() error {
	if len(t.Environment) == t.Size {
		return nil
	}
	return fmt.Errorf("OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are known only where they are in the first %d of %d bytes of its environment",
		len(t.Environment), t.Size)
}

// Complete adds what the kernel side told: /proc has less and less of a process that
// ends, and the environment of what one executes.
func (p *Process) Complete(t *Told) {
	told := t.identity()
	if p.who.pid == 0 {
		p.who.pid, p.who.instance = told.pid, told.instance
	}
	if p.who.host == "" {
		p.who.host = told.host
	}
	if p.who.variables == (variables{}) || t.unread() == nil {
		p.who.variables = told.variables
	}
}
