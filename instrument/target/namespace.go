package target

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// What /proc/PID/ns/pid and user lead to in the initial namespaces: their inodes
// are fixed (PROC_PID_INIT_INO and PROC_USER_INIT_INO in include/linux/proc_ns.h).
const (
	initialPIDNamespace  = "pid:[4026531836]"
	initialUserNamespace = "user:[4026531837]"
)

// InitPIDNamespace says whether uspan runs in the initial PID namespace.
func InitPIDNamespace() bool {
	link, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && link == initialPIDNamespace
}

// InitUserNamespace says whether uspan runs in the initial user namespace: the
// capabilities of another do not let it trace.
func InitUserNamespace() bool {
	link, err := os.Readlink("/proc/self/ns/user")
	return err == nil && link == initialUserNamespace
}

// CheckProc returns an error where /proc does not show the PID namespace that
// uspan is in: the process ids in it are not those that the kernel takes and
// tells.
func CheckProc() error {
	const wayOut = "mount one there (unshare --mount-proc, or mount -t proc proc /proc)"
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("/proc is not of uspan's PID namespace, or not mounted: %w: %s", err, wayOut)
	}
	for line := range strings.Lines(string(text)) {
		// One id for each namespace from that of /proc on to uspan's own.
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok && len(strings.Fields(ids)) > 1 {
			return errors.New("/proc is of another PID namespace than uspan: " + wayOut)
		}
	}
	return nil
}
