package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// A debugFile is where the DWARF of an executable is that has been stripped of it
// (objcopy --only-keep-debug, strip --only-keep-debug; Debian's -dbgsym packages).
type debugFile struct {
	path string
	elf  *elf.File
	file *os.File
	size int64
}

// debugRoot is where distributions put separate debug files (gdb's
// debug-file-directory).
const debugRoot = "/usr/lib/debug"

// findDebugFile looks for the separate debug file of an executable without DWARF,
// as gdb does: by the build ID, then by the link to it that the executable has.
// Where there is none, the error is nil, too; one that is there and cannot be used
// is an error.
func (f *File) findDebugFile() error {
	var wrong error
	for _, c := range f.debugCandidates() {
		switch err := f.useDebugFile(c.path, c.checksum); {
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrNotExist):
			wrong = err
		}
	}
	return wrong
}

// UseDebugFile takes the DWARF of the file at path, which has to belong to the
// executable: their build IDs are the same.
func (f *File) UseDebugFile(path string) error { return f.useDebugFile(path, nil) }

type debugCandidate struct {
	path     string
	checksum *uint32 // of the whole file, where the executable has that
}

func (f *File) debugCandidates() []debugCandidate {
	var list []debugCandidate
	if id := f.gnuBuildID(); len(id) > 2 {
		list = append(list, debugCandidate{path: filepath.Join(debugRoot, ".build-id", id[:2], id[2:]+".debug")})
	}
	name, checksum, ok := f.debugLink()
	dir := filepath.Dir(f.Path)
	if full, err := filepath.Abs(dir); ok && err == nil {
		for _, path := range []string{
			filepath.Join(full, name), filepath.Join(full, ".debug", name), filepath.Join(debugRoot, full, name),
		} {
			list = append(list, debugCandidate{path, &checksum})
		}
	}
	return list
}

// gnuBuildID is the GNU build ID in hexadecimal, which Go has only from 1.24 on
// by default, or from a C linker.
func (f *File) gnuBuildID() string {
	const gnuBuildID = 3
	if id := f.note(".note.gnu.build-id", "GNU", gnuBuildID); len(id) > 0 {
		return hex.EncodeToString(id)
	}
	return ""
}

// debugLink reads .gnu_debuglink: a base name, padded to four bytes, and the
// CRC-32 of the file.
func (f *File) debugLink() (name string, checksum uint32, ok bool) {
	const maxLink = 4096
	s := f.elf.Section(".gnu_debuglink")
	if s == nil || s.Type == elf.SHT_NOBITS || s.FileSize < 8 || s.FileSize > maxLink {
		return "", 0, false
	}
	data, err := s.Data()
	if err != nil {
		return "", 0, false
	}
	text, _, found := bytes.Cut(data, []byte{0})
	if name = string(text); !found || name == "" || name != filepath.Base(name) {
		return "", 0, false
	}
	return name, binary.LittleEndian.Uint32(data[len(data)-4:]), true
}

// useDebugFile opens a debug file and checks that it belongs to the executable.
func (f *File) useDebugFile(path string, checksum *uint32) error {
	file, err := os.Open(path)
	if problem, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("debug file %s: %w", path, problem.Err)
	}
	if err != nil {
		return err
	}
	d, err := f.readDebugFile(file, path, checksum)
	if err != nil {
		file.Close()
		return fmt.Errorf("debug file %s: %w", path, err)
	}
	f.separate = d
	return nil
}

func (f *File) readDebugFile(file *os.File, path string, checksum *uint32) (*debugFile, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	d := &debugFile{path: path, file: file, size: info.Size()}
	if d.elf, err = elf.NewFile(file); err != nil {
		return nil, fmt.Errorf("it is no ELF file: %w", err)
	}
	ours, theirs := f.BuildID, buildIDOf(d.elf)
	switch {
	case ours != "" && theirs != "":
		if ours != theirs {
			return nil, fmt.Errorf("it belongs to another executable than %s: build ID %s, not %s", f.Path, theirs, ours)
		}
	case checksum != nil:
		sum := crc32.NewIEEE()
		if _, err := io.Copy(sum, io.NewSectionReader(file, 0, d.size)); err != nil {
			return nil, err
		}
		if sum.Sum32() != *checksum {
			return nil, fmt.Errorf("it is not the file that %s was stripped into: checksum %08x, not %08x", f.Path, sum.Sum32(), *checksum)
		}
	default:
		return nil, fmt.Errorf("whether it belongs to %s cannot be told: one of them has no build ID", f.Path)
	}
	if _, ok := sectionOf(d.elf, "info"); !ok {
		return nil, errors.New("it has no DWARF")
	}
	return d, nil
}

// buildIDOf is the build ID of a debug file, as File.BuildID has that of an
// executable.
func buildIDOf(file *elf.File) string {
	const maxNotes, gnuBuildID, goBuildID = 4096, 3, 4
	read := func(section string) []byte {
		s := file.Section(section)
		if s == nil || s.Type == elf.SHT_NOBITS || s.FileSize > maxNotes {
			return nil
		}
		data, err := s.Data()
		if err != nil {
			return nil
		}
		return data
	}
	if id := noteIn(read(".note.gnu.build-id"), "GNU", gnuBuildID); len(id) > 0 {
		return hex.EncodeToString(id)
	}
	return string(noteIn(read(".note.go.buildid"), "Go", goBuildID))
}

// DebugFile is the path of the separate debug file that the DWARF is read from;
// empty where it is in the executable, or nowhere.
func (f *File) DebugFile() string {
	if f.separate == nil {
		return ""
	}
	return f.separate.path
}

// DebugProblem is why a separate debug file that was found was not used. It is
// known once the DWARF has been asked for.
func (f *File) DebugProblem() error { return f.problem }
