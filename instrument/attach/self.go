package attach

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/target"
)

// Self are programs that uspan runs in its own process to ask the kernel what
// no system call tells. Nothing is attached. Linux 5.17 or later (bpf_find_vma).
type Self struct{ objects bpf.SelfObjects }

// OpenSelf loads the programs.
func OpenSelf() (*Self, error) {
	spec, err := bpf.SelfSpec()
	if err != nil {
		return nil, fmt.Errorf("load the BPF programs: %w", err)
	}
	setKernelVersion(spec)
	self := &Self{}
	if err := spec.LoadAndAssign(&self.objects, nil); err != nil {
		return nil, loadError(err)
	}
	return self, nil
}

// Close frees the programs.
func (s *Self) Close() error { return s.objects.Close() }

// pidNamespace is the PID namespace that uspan is in.
type pidNamespace struct {
	// address is the kernel's, and zero for the initial namespace; level is how
	// far below that it lies.
	address uint64
	level   uint32
	// self is uspan's own process id in the initial namespace.
	self uint32
}

// ownNamespace finds the namespace whose process ids uspan knows.
func ownNamespace() (pidNamespace, error) {
	if target.InitPIDNamespace() {
		return pidNamespace{self: uint32(os.Getpid())}, nil
	}
	self, err := OpenSelf()
	if err != nil {
		return pidNamespace{}, err
	}
	defer self.Close()
	var ns pidNamespace
	objects := &self.objects
	_, err = objects.SeeNamespace.Run(nil)
	err = errors.Join(err, objects.PidNamespace.Get(&ns.address), objects.PidLevel.Get(&ns.level), objects.Tgid.Get(&ns.self))
	if err == nil && (ns.address == 0 || ns.level == 0) {
		err = errors.New("the kernel does not tell")
	}
	if err != nil {
		return pidNamespace{}, fmt.Errorf("find uspan's PID namespace: %w", err)
	}
	return ns, nil
}

// An Inode is a file as uprobes know it, by its address in the kernel: for
// comparison, while a file that has it is open. Files of overlayfs have that of
// the file below, which containers of one image share although stat(2) tells
// their files apart.
type Inode uint64

// Inode finds the inode of an open file, which must not be empty.
func (s *Self) Inode(file *os.File) (Inode, error) {
	inode, err := s.inode(file)
	if err != nil {
		return 0, fmt.Errorf("find the inode of %s: %w", file.Name(), err)
	}
	return inode, nil
}

func (s *Self) inode(file *os.File) (Inode, error) {
	// A mapping is what shows it.
	page, err := unix.Mmap(int(file.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return 0, fmt.Errorf("map it: %w", err)
	}
	defer unix.Munmap(page) //nolint:errcheck // of a page that was mapped above
	if err := s.objects.Address.Set(uint64(uintptr(unsafe.Pointer(&page[0])))); err != nil {
		return 0, err
	}
	// The kernel does not wait for another thread that maps something.
	const patience = time.Second
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		var inode uint64
		result, err := s.objects.SeeInode.Run(nil)
		if err == nil {
			err = s.objects.Inode.Get(&inode)
		}
		switch {
		case err != nil:
			return 0, err
		case inode != 0:
			return Inode(inode), nil
		case time.Since(begun) > patience:
			return 0, fmt.Errorf("the kernel does not tell (%w)", unix.Errno(-int32(result)))
		}
	}
}

// setKernelVersion sets any version but 0: for that the library reads
// /proc/self/mem, which a program with file capabilities may not, and no kernel
// has looked at it since 5.0.
func setKernelVersion(spec *ebpf.CollectionSpec) {
	for _, program := range spec.Programs {
		program.KernelVersion = 1
	}
}
