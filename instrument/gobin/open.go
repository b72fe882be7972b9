package gobin

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ErrNotGo is wrapped by the errors of Open and NewFile for a native executable
// that the Go toolchain did not make.
var ErrNotGo = errors.New("not a Go executable")

// minMinor is the oldest minor version of Go that is read: its registers carry
// arguments, and its function table has offsets instead of addresses.
const minMinor = 18

// Open opens the executable at path, which has to be a linux executable for
// amd64 or arm64, of Go 1.18 or later, whatever machine this is. Its Close
// releases the file descriptor.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		file.Close()
		return nil, fmt.Errorf("open %s: it is a directory: name an executable", path)
	}
	f, err := NewFile(file, path)
	if err != nil {
		file.Close()
		return nil, err
	}
	f.closer = file
	return f, nil
}

// NewFile reads an executable from r, which has to stay valid while the File is
// in use, and is not closed by it. path serves messages only.
func NewFile(r io.ReaderAt, path string) (*File, error) {
	f := &File{Path: path, reader: r, size: sizeOf(r)}
	f.blocks = NewBlocks(r, f.size)
	if err := f.identify(); err != nil {
		return nil, err
	}
	if err := f.readBuildInfo(); err != nil {
		return nil, err
	}
	if err := f.refuseLibrary(); err != nil {
		return nil, err
	}
	if err := f.readFunctions(); err != nil {
		return nil, fmt.Errorf("read the function table of %s: %w", path, err)
	}
	if err := f.checkNames(); err != nil {
		return nil, err
	}
	return f, nil
}

// Close releases what Open opened. It may be called more than once.
func (f *File) Close() error {
	var err error
	f.closed.Do(func() {
		if f.separate != nil {
			err = f.separate.file.Close()
		}
		if f.closer != nil {
			err = errors.Join(err, f.closer.Close())
		}
	})
	return err
}

// Release frees what only the making of a plan needs, which is many times the
// rest in a large executable: the functions and the DWARF. Afterwards there are
// no Functions, and Signature fails.
func (f *File) Release() {
	f.funcs = nil
	f.files = fileNames{}
	f.blocks.Drop()
	f.debug.release(errors.New("the DWARF was released"))
	f.types.release(errors.New("the data of types was released"))
}

// identify reads the ELF headers, and says in plain words what the file is where
// it is none that uspan can trace.
func (f *File) identify() error {
	head := make([]byte, 256)
	n, err := f.reader.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", f.Path, err)
	}
	head = head[:n]
	if script, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ := bytes.Cut(script, []byte("\n"))
		return fmt.Errorf("%s is a script for %s: name the program that it runs", f.Path, interpreter(string(line)))
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return fmt.Errorf("%s is not an executable (no ELF header): name an executable of Go", f.Path)
	}
	const supported = "linux/amd64 and linux/arm64 are supported so far"
	if len(head) > elf.EI_CLASS && elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS32 {
		return fmt.Errorf("%s is a 32-bit executable: %s", f.Path, supported)
	}
	file, err := elf.NewFile(f.reader)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s is truncated: its ELF headers tell of more than the file has", f.Path)
	}
	if err != nil {
		return fmt.Errorf("read the ELF headers of %s: %w", f.Path, err)
	}
	f.Arch = Arch(machine(file.Machine))
	if f.Arch != AMD64 && f.Arch != ARM64 || file.Data != elf.ELFDATA2LSB {
		return fmt.Errorf("%s is an executable for %s: %s", f.Path, f.Arch, supported)
	}
	switch file.Type {
	case elf.ET_EXEC:
	case elf.ET_DYN:
		f.PIE = true
	default:
		return fmt.Errorf("%s is not an executable but an ELF file of type %s", f.Path, file.Type)
	}
	f.elf = file
	f.segments = loadSegments(file)
	return f.refuseCompressed()
}

// BuiltByGo says whether the go command has built a file, be it one that NewFile refuses.
func BuiltByGo(r io.ReaderAt) bool {
	_, err := buildinfo.Read(r)
	return err == nil
}

// readBuildInfo says who built the file.
func (f *File) readBuildInfo() error {
	info, err := buildinfo.Read(f.reader)
	if err != nil && len(f.elf.Sections) == 0 {
		// It looks into the first writable segment only.
		info, err = f.searchBuildInfo(err)
	}
	if err != nil && f.sharedLibrary() {
		return f.refuseLibrary()
	}
	if err != nil {
		return fmt.Errorf("%s is %w: %s", f.Path, ErrNotGo, strings.Replace(err.Error(), ErrNotGo.Error(), "it has no build information of the Go toolchain", 1))
	}
	f.Info = info
	f.GoVersion = info.GoVersion
	minor, ok := parseMinor(info.GoVersion)
	if info.GoVersion == "unknown" {
		return f.errObfuscated("its version of Go was taken away, and so was its function table")
	}
	if !ok {
		return fmt.Errorf("%s was built with an unknown version of Go, %q: Go 1.%d or later is supported so far", f.Path, info.GoVersion, minMinor)
	}
	if minor < minMinor {
		return fmt.Errorf("%s was built with %s: Go 1.%d or later is supported so far", f.Path, info.GoVersion, minMinor)
	}
	f.minor = minor
	f.BuildID = f.readBuildID()
	return nil
}

// interpreter is the program in a script's first line, behind `#!`. For `env`
// it is the program that env looks for.
func interpreter(line string) string {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return "an interpreter that it does not name"
	}
	if strings.HasSuffix(fields[0], "/env") && len(fields) > 1 {
		return fields[len(fields)-1]
	}
	return fields[0]
}

// machine names an ELF machine as Go does, where Go has a name for it.
func machine(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return string(AMD64)
	case elf.EM_AARCH64:
		return string(ARM64)
	case elf.EM_ARM:
		return "arm"
	case elf.EM_386:
		return "386"
	case elf.EM_PPC64:
		return "ppc64"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_LOONGARCH:
		return "loong64"
	}
	return m.String()
}

// parseMinor takes 26 from "go1.26.8", "go1.26rc1", "go1.26.8 X:nogreenteagc"
// and "devel go1.26-0a1b2c3".
func parseMinor(version string) (int, bool) {
	_, rest, ok := strings.Cut(version, "go1.")
	if !ok {
		return 0, false
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	minor, err := strconv.Atoi(rest[:end])
	return minor, err == nil
}

// sizeOf finds the size of what r reads. A reader that cannot say is probed: the
// size is the first offset where nothing is left to read.
func sizeOf(r io.ReaderAt) int64 {
	switch r := r.(type) {
	case interface{ Size() int64 }:
		return r.Size()
	case interface{ Stat() (os.FileInfo, error) }:
		if info, err := r.Stat(); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
	}
	var b [1]byte
	readable := func(at int64) bool {
		n, _ := r.ReadAt(b[:], at)
		return n == 1
	}
	low, high := int64(0), int64(1)
	for readable(high-1) && high < 1<<40 {
		low, high = high, high*2
	}
	for low < high {
		middle := low + (high-low)/2
		if readable(middle) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}
