package target

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/span"
)

// An identity is what a Resource says of a process beside its executable, read
// when the process is opened, since all of it is gone when the process is. What
// is empty or zero is not known.
type identity struct {
	pid       int // in the process's own PID namespace
	instance  string
	host      string
	container string
	variables variables
	// unread is what could not be read, and why.
	unread error
}

func (p *Process) identify() identity {
	var who identity
	var errs [3]error
	var s status
	if s, errs[0] = readStatus(p.pid); errs[0] == nil {
		who.pid = s.inner
	}
	who.variables, errs[1] = readVariables(procPath(p.pid, "environ"))
	who.host, errs[2] = p.hostname()
	who.container = ContainerOf(p.pid)
	if namespace, err := os.Readlink(procPath(p.pid, "ns/pid")); err == nil {
		who.instance = instanceID(namespace, who.pid, p.started-uint64(span.OwnClockOffsets().Boottime/tick))
	}
	who.unread = errors.Join(errs[:]...)
	return who
}

// variables are the two environment variables that are looked at; no other
// leaves the reader.
type variables struct{ serviceName, resourceAttributes string }

// readVariables reads /proc/PID/environ: the environment that the process was
// started with, which its own os.Setenv does not change.
func readVariables(path string) (variables, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return variables{}, err
	}
	return parseVariables(text), nil
}

func parseVariables(environ []byte) variables {
	var v variables
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		name, value, _ := bytes.Cut(variable, []byte("="))
		// The first of several is the one that getenv(3) and Go return.
		switch string(name) {
		case "OTEL_SERVICE_NAME":
			if v.serviceName == "" {
				v.serviceName = string(value)
			}
		case "OTEL_RESOURCE_ATTRIBUTES":
			if v.resourceAttributes == "" {
				v.resourceAttributes = string(value)
			}
		}
	}
	return v
}

// hostname is the host name in the process's own UTS namespace: what an SDK
// inside of it would report. Another namespace than uspan's is entered for the
// moment, by one thread, which wants CAP_SYS_ADMIN and Linux 5.8; without, the
// name is unknown.
func (p *Process) hostname() (string, error) {
	theirs, err := os.Readlink(procPath(p.pid, "ns/uts"))
	if err != nil {
		return "", err
	}
	own, err := os.Readlink("/proc/thread-self/ns/uts")
	if err != nil {
		return "", err
	}
	if theirs == own {
		return os.Hostname()
	}
	runtime.LockOSThread()
	back, err := os.Open("/proc/thread-self/ns/uts")
	if err != nil {
		runtime.UnlockOSThread()
		return "", err
	}
	defer back.Close()
	var name string
	if err = p.control(func(fd uintptr) error { return unix.Setns(int(fd), unix.CLONE_NEWUTS) }); err == nil {
		name, err = os.Hostname()
		if returned := unix.Setns(int(back.Fd()), unix.CLONE_NEWUTS); returned != nil {
			// The thread stays locked and ends with the goroutine, rather
			// than serve others with the wrong name.
			return name, nil
		}
	}
	runtime.UnlockOSThread()
	if err != nil {
		return "", fmt.Errorf("host name of another UTS namespace: %w (CAP_SYS_ADMIN allows it)", err)
	}
	return name, nil
}

// instanceSpace is the UUID namespace that the semantic conventions set for
// instance ids that are derived from inherent ones (service.instance.id):
// 4d63009a-8d0f-11ee-aad7-4c796ed8e320.
const instanceSpace = "\x4d\x63\x00\x9a\x8d\x0f\x11\xee\xaa\xd7\x4c\x79\x6e\xd8\xe3\x20"

// instanceID is a UUID of version 5 that two runs of uspan, in whatever PID
// namespaces, find alike for the same process, and that no other process of any
// boot has. Inner is the process id in the process's own namespace, which is called
// as in /proc/PID/ns, and started its start in clock ticks. Empty where it is not
// known.
func instanceID(namespace string, inner int, started uint64) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || inner == 0 {
		return ""
	}
	return uuid5(fmt.Sprintf("%s/%s/%d/%d", strings.TrimSpace(string(boot)), namespace, inner, started))
}

// uuid5 is the name-based UUID of RFC 9562, section 5.5.
func uuid5(name string) string {
	sum := sha1.Sum([]byte(instanceSpace + name))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
