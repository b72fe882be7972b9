package target

import "os"

// initialPIDNamespace is what /proc/PID/ns/pid leads to in the initial PID
// namespace: its inode is fixed (PROC_PID_INIT_INO in include/linux/proc_ns.h).
const initialPIDNamespace = "pid:[4026531836]"

// InitPIDNamespace says whether uspan runs in the initial PID namespace. The
// kernel programs see process ids of that one; in another they are not the ids
// that uspan knows.
func InitPIDNamespace() bool {
	link, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && link == initialPIDNamespace
}
