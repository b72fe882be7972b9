package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// archive writes what the kernel unpacks into its first file system: cpio in the
// form "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w     io.Writer
	at    int64
	inode int
	err   error
}

// header begins an entry.
func (a *archive) header(name string, mode uint32, size int64, major, minor int) {
	a.inode++
	a.write([]byte(fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0, name)))
	a.pad()
}

func (a *archive) write(data []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(data)
	a.at, a.err = a.at+int64(n), err
}

func (a *archive) pad() { a.write(make([]byte, -a.at&3)) }

func (a *archive) dir(name string) { a.header(name, unix.S_IFDIR|0o755, 0, 0, 0) }

func (a *archive) device(name string, major, minor int) {
	a.header(name, unix.S_IFCHR|0o666, 0, major, minor)
}

func (a *archive) data(name string, mode fs.FileMode, data []byte) {
	a.header(name, unix.S_IFREG|uint32(mode.Perm()), int64(len(data)), 0, 0)
	a.write(data)
	a.pad()
}

// file copies a file of this machine.
func (a *archive) file(name, from string) {
	if a.err != nil {
		return
	}
	info, err := os.Stat(from)
	if err != nil {
		a.err = err
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		a.err = err
		return
	}
	a.data(name, info.Mode(), data)
}

// end writes the trailer and returns the first error.
func (a *archive) end() error {
	a.header("TRAILER!!!", 0, 0, 0, 0)
	return a.err
}
