package target

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors of Start that say that it is the command that is wrong.
var (
	// ErrNotFound says that there is no such command: exit status 127.
	ErrNotFound = errors.New("not found")
	// ErrNotExecutable says that there is one, and that it cannot be executed:
	// exit status 126.
	ErrNotExecutable = errors.New("cannot be executed")
)

// lookPath finds the file of a command as execvp(3) does, which prefers "may not
// be executed" to "not found".
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, exec.ErrDot):
		return "", fmt.Errorf("%w in $PATH but in the current directory: write ./%s", ErrNotFound, name)
	case strings.Contains(name, "/"):
		if errors.Is(err, fs.ErrNotExist) {
			return "", ErrNotFound
		}
		return "", fmt.Errorf("%w: %w", ErrNotExecutable, cause(err))
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return "", fmt.Errorf("%w: %s: %w", ErrNotExecutable, path, fs.ErrPermission)
		}
	}
	return "", fmt.Errorf("%w in $PATH", ErrNotFound)
}

// cause is an error without the name of the file, which the message has already.
func cause(err error) error {
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		err = lookup.Err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return err
}

// refuseFile says why a file is not to be executed by Start although the kernel
// might, or nil. A file that cannot be read is the kernel's to judge.
func refuseFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var begin [256]byte
	n, _ := io.ReadFull(f, begin[:])
	if interpreter, ok := scriptInterpreter(begin[:n]); ok {
		return fmt.Errorf("%w: it is a script for %s, and uspan traces Go executables: "+
			"run the executable that the script starts, or attach to it (uspan attach EXECUTABLE) and start the script by itself",
			ErrNotExecutable, interpreter)
	}
	if kind := privileged(f); kind != "" && !haveCapSysPtrace() {
		return fmt.Errorf("%w: it has %s, which the kernel does not grant under a tracer without CAP_SYS_PTRACE: run uspan as root",
			ErrNotExecutable, kind)
	}
	return nil
}

// scriptInterpreter returns the program behind the #! of a script. The kernel
// reads as many bytes (BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h).
func scriptInterpreter(begin []byte) (string, bool) {
	line, ok := bytes.CutPrefix(begin, []byte("#!"))
	if !ok {
		return "", false
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := bytes.Fields(line)
	if len(words) == 0 {
		return "an unnamed interpreter", true
	}
	return string(words[0]), true
}

// privileged names what a file gains its process at execve, or is empty.
func privileged(f *os.File) string {
	info, err := f.Stat()
	switch {
	case err != nil:
		return ""
	case info.Mode()&fs.ModeSetuid != 0:
		return "the set-user-ID bit"
	case info.Mode()&fs.ModeSetgid != 0:
		return "the set-group-ID bit"
	}
	if n, err := unix.Fgetxattr(int(f.Fd()), "security.capability", nil); err == nil && n > 0 {
		return "file capabilities"
	}
	return ""
}

// haveCapSysPtrace says whether uspan has CAP_SYS_PTRACE in effect.
func haveCapSysPtrace() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

// refuseExec says what an error of fork, of the change of user, or of execve
// means; they cannot be told apart but by their number.
func refuseExec(path, user string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM) && user != "":
		return fmt.Errorf("become user %s: %w: run uspan as root (CAP_SETUID, CAP_SETGID)", user, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("stop the command at its start: %w: ptrace is forbidden by kernel.yama.ptrace_scope or a seccomp filter", err)
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EINVAL):
		return err
	case errors.Is(err, unix.ENOENT):
		if loader := missingLoader(path); loader != "" {
			return fmt.Errorf("%w: the dynamic loader that it asks for, %s, does not exist", ErrNotExecutable, loader)
		}
		return ErrNotFound
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("%w: %w: it is no executable of this machine", ErrNotExecutable, err)
	case errors.Is(err, unix.EACCES) && user != "":
		return fmt.Errorf("%w: %w for user %s", ErrNotExecutable, err, user)
	default:
		return fmt.Errorf("%w: %w", ErrNotExecutable, err)
	}
}

// missingLoader returns the program interpreter of an ELF file (PT_INTERP,
// elf(5)) where it does not exist, else nothing.
func missingLoader(path string) string {
	const segmentInterp, headerSize, maxPath = 3, 56, 4096
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var header [64]byte
	if _, err := f.ReadAt(header[:], 0); err != nil || !isELF64(header[:]) {
		return ""
	}
	le := binary.LittleEndian
	offset := le.Uint64(header[32:])
	for i := range le.Uint16(header[56:]) {
		var segment [headerSize]byte
		if _, err := f.ReadAt(segment[:], int64(offset)+int64(i)*headerSize); err != nil {
			return ""
		}
		if le.Uint32(segment[:]) != segmentInterp {
			continue
		}
		size := le.Uint64(segment[32:])
		if size > maxPath {
			return ""
		}
		name := make([]byte, size)
		if _, err := f.ReadAt(name, int64(le.Uint64(segment[8:]))); err != nil {
			return ""
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		if _, err := os.Stat(string(name)); errors.Is(err, fs.ErrNotExist) {
			return string(name)
		}
		return ""
	}
	return ""
}
