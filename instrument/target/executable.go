package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// An Inode identifies a file while it exists, by whatever name.
type Inode struct{ Dev, Ino uint64 }

// StatInode returns the identity of the file that a path leads to now.
func StatInode(path string) (Inode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Inode{}, err
	}
	return inodeOf(info)
}

func inodeOf(info fs.FileInfo) (Inode, error) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Inode{}, fmt.Errorf("stat %s: no inode", info.Name())
	}
	return Inode{Dev: s.Dev, Ino: s.Ino}, nil
}

// An executable is the file that a process runs.
type executable struct {
	path    string
	deleted bool
	inode   Inode
}

// deletedSuffix is what the kernel appends to a name that leads there no longer
// (d_path in fs/d_path.c).
const deletedSuffix = " (deleted)"

func readExecutable(pid int) (executable, error) {
	link := procPath(pid, "exe")
	path, err := os.Readlink(link)
	if err != nil {
		return executable{}, err
	}
	inode, err := StatInode(link)
	if err != nil {
		return executable{}, err
	}
	e := executable{path: path, inode: inode}
	if name, ok := strings.CutSuffix(path, deletedSuffix); ok {
		// A file may really be called that: then the name leads to it.
		there, err := StatInode(procPath(pid, "root") + path)
		if err != nil || there != inode {
			e.path, e.deleted = name, true
		}
	}
	return e, nil
}

// Exe is the path /proc/PID/exe, which opens the very file that runs, deleted or
// replaced as it may be, while the process lives. OpenExe opens it safely.
func (p *Process) Exe() string { return procPath(p.pid, "exe") }

// ExePath is the name that the executable had when it was executed, in the
// process's own mount namespace: for people. ExeDeleted says that the name no
// longer led to it when the process was opened.
func (p *Process) ExePath() string { return p.exe.path }

// ExeDeleted says that ExePath did not lead to the file that runs any more when
// the process was opened: it was deleted, or replaced.
func (p *Process) ExeDeleted() bool { return p.exe.deleted }

// Inode identifies the file that the process ran when it was opened.
func (p *Process) Inode() Inode { return p.exe.inode }

// Container is the id of the container that the process runs in, or nothing.
func (p *Process) Container() string { return p.who.container }

// OpenExe opens the file that the process runs. It fails with ErrNoProcess where
// the process has ended, and where it runs another file by now (execve).
func (p *Process) OpenExe() (*os.File, error) {
	f, err := p.openExe()
	if err != nil {
		return nil, fmt.Errorf("open the executable of process %d: %w", p.pid, err)
	}
	return f, nil
}

func (p *Process) openExe() (*os.File, error) {
	f, err := os.Open(p.Exe())
	if err != nil {
		return nil, p.vanished(err)
	}
	if err := p.sameExe(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (p *Process) sameExe(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	inode, err := inodeOf(info)
	switch {
	case err != nil:
		return err
	case !p.Alive():
		return ErrNoProcess
	case inode != p.exe.inode:
		return fmt.Errorf("%w: it has executed another file", ErrNoProcess)
	}
	return nil
}

// Found are processes that may run a file, each list ascending, without uspan.
type Found struct {
	// Same run the file itself.
	Same []int
	// Alike run a file of its size in another file system: it may be the file
	// itself there, since a container sees an image's files through an overlayfs
	// of its own, with inodes of its own.
	Alike []int
	// Hidden is the number of processes that could not be looked at, because
	// they belong to other users: CAP_SYS_PTRACE shows them.
	Hidden int
}

// Find looks for the processes that run a file of some size.
//
// Names would say nothing: the same file has several, and another may have taken
// its name.
func Find(inode Inode, size int64) (Found, error) {
	var found Found
	hidden, err := find(func(pid int) error {
		info, err := os.Stat(procPath(pid, "exe"))
		if err != nil {
			return err
		}
		switch there, err := inodeOf(info); {
		case err != nil:
			return err
		case there == inode:
			found.Same = append(found.Same, pid)
		case there.Dev != inode.Dev && info.Size() == size:
			found.Alike = append(found.Alike, pid)
		}
		return nil
	})
	found.Hidden = hidden
	slices.Sort(found.Same)
	slices.Sort(found.Alike)
	return found, err
}

// FindByPath returns the processes whose executable is called path in their own
// mount namespace, and that path leads to, ascending, and how many could not be
// looked at.
func FindByPath(path string) (pids []int, hidden int, err error) {
	hidden, err = find(func(pid int) error {
		if link, err := os.Readlink(procPath(pid, "exe")); err != nil || link != path {
			return err
		}
		exe, err := readExecutable(pid)
		if err == nil && exe.path == path && !exe.deleted {
			pids = append(pids, pid)
		}
		return err
	})
	slices.Sort(pids)
	return pids, hidden, err
}

// find calls look for every process but uspan itself, and returns how many could
// not be looked at.
func find(look func(pid int) error) (hidden int, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return 0, fmt.Errorf("find processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("find processes: %w", err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		// A process without an executable, or that has ended, is none of them.
		if err := look(pid); errors.Is(err, fs.ErrPermission) {
			if s, err := readStat(pid); err == nil && !s.kernel() && !s.zombie() {
				hidden++
			}
		}
	}
	// With the capability it is not the user that hides them.
	if haveCapSysPtrace() {
		hidden = 0
	}
	return hidden, nil
}
