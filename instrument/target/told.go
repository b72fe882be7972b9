package target

import (
	"fmt"
	"os"
	"strings"
	"sync"
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

// ticks is when it started as /proc has it: in clock ticks since the boot, as it is
// reckoned in uspan's time namespace.
func (t *Told) ticks() uint64 { return (t.Started + bootOffset()) / tick }

// bootOffset is what uspan's time namespace adds to the time since the boot, in
// nanoseconds (time_namespaces(7)); unsigned, as it wraps around where it takes away.
var bootOffset = sync.OnceValue(func() uint64 {
	offsets, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil { // before Linux 5.5, or without such namespaces
		return 0
	}
	for line := range strings.Lines(string(offsets)) {
		var seconds, nanoseconds int64
		if _, err := fmt.Sscanf(line, "boottime %d %d", &seconds, &nanoseconds); err == nil {
			return uint64(seconds*1e9 + nanoseconds)
		}
	}
	return 0
})

// Is says whether it is the process that was told of, and not another that has its
// id by now.
func (p *Process) Is(t *Told) bool { return p.started == t.ticks() }

func (t *Told) identity() identity {
	return identity{
		pid:       t.InnerPID,
		instance:  instanceID(fmt.Sprintf("pid:[%d]", t.Namespace), t.InnerPID, t.ticks()),
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
