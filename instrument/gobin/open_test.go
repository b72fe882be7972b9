package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// elfHeader is an ELF file that is nothing but its header.
func elfHeader(t *testing.T, class elf.Class, kind elf.Type, machine elf.Machine) string {
	t.Helper()
	var b bytes.Buffer
	ident := [16]byte{0x7f, 'E', 'L', 'F', byte(class), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	err := binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: ident, Type: uint16(kind), Machine: uint16(machine), Version: 1,
		Ehsize: 64, Phentsize: 56, Shentsize: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"empty", "", "is not an executable (no ELF header)"},
		{"text", "hello\n", "is not an executable (no ELF header)"},
		{"script", "#!/bin/sh -e\necho\n", "is a script for /bin/sh: name the program that it runs"},
		{"env", "#! /usr/bin/env -S python3\n", "is a script for python3: name the program that it runs"},
		{"nameless", "#!\n", "is a script for an interpreter that it does not name"},
		{"magic", "\x7fELF", "is truncated: its ELF headers tell of more than the file has"},
		{"386", elfHeader(t, elf.ELFCLASS32, elf.ET_EXEC, elf.EM_386), "is a 32-bit executable: linux/amd64 and linux/arm64 are supported so far"},
		{"riscv64", elfHeader(t, elf.ELFCLASS64, elf.ET_EXEC, elf.EM_RISCV), "is an executable for riscv64: linux/amd64 and linux/arm64 are supported so far"},
		{"object", elfHeader(t, elf.ELFCLASS64, elf.ET_REL, elf.EM_X86_64), "is not an executable but an ELF file of type ET_REL"},
		{"c", elfHeader(t, elf.ELFCLASS64, elf.ET_EXEC, elf.EM_X86_64), ErrNotGo.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), test.name)
			if err := os.WriteFile(path, []byte(test.content), 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if (test.name == "c") != errors.Is(err, ErrNotGo) {
				t.Errorf("%v: is it ErrNotGo: %t", err, errors.Is(err, ErrNotGo))
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}

// Too old a release is told by the version in the executable: here it says another
// than what built it.
func TestOpenOldGo(t *testing.T) {
	built := testprog.Build(t, "-- go.mod --\nmodule m\n\ngo 1.18\n-- main.go --\npackage main\nfunc main() {}\n", testprog.Options{GoVersion: "go1.18.10"})
	code, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(path, bytes.ReplaceAll(code, []byte("go1.18.10"), []byte("go1.17.13")), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path)
	if err == nil || !strings.Contains(err.Error(), "was built with go1.17.13: Go 1.18 or later is supported so far") {
		t.Errorf("error %v", err)
	}
}

func TestParseMinor(t *testing.T) {
	for version, want := range map[string]int{
		"go1.21":                         21,
		"go1.26.8":                       26,
		"go1.27rc1":                      27,
		"go1.26.8 X:nogreenteagc":        26,
		"devel go1.28-0a1b2c3 Mon":       28,
		"go1.24.4 (Red Hat 1.24.4-1.el)": 24,
		"go1.x":                          -1,
		"gccgo 12":                       -1,
		"go1.":                           -1,
		"go1.99999999999999999999":       -1,
		"":                               -1,
	} {
		minor, ok := parseMinor(version)
		if ok != (want >= 0) || ok && minor != want {
			t.Errorf("%q: %d, %t", version, minor, ok)
		}
	}
}

// bareReader can nothing but ReadAt.
type bareReader struct{ io.ReaderAt }

func TestSizeOf(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 255, 256, 257, 100_000} {
		r := bytes.NewReader(make([]byte, size))
		if got := sizeOf(r); got != int64(size) {
			t.Errorf("size %d: %d", size, got)
		}
		if got := sizeOf(bareReader{r}); got != int64(size) {
			t.Errorf("size %d, by probing: %d", size, got)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	f, err := Open(goCommand(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Body(&f.Functions()[0]); err == nil {
		t.Error("reads after it was closed")
	}
}

// Without any section headers everything is found through the program headers,
// the text of the FIPS 140 module, too.
func TestNoSectionHeaders(t *testing.T) {
	compare := func(t *testing.T, whole, bare *File) {
		if len(bare.elf.Sections) > 0 {
			t.Fatalf("%d sections", len(bare.elf.Sections))
		}
		if !slices.Equal(whole.Functions(), bare.Functions()) {
			t.Error("the functions differ")
		}
		// The Go linker has no segment for the GNU build ID; then it is Go's own.
		if bare.BuildID == "" || whole.GoVersion != bare.GoVersion || whole.Info.String() != bare.Info.String() {
			t.Errorf("build ID %q; version %s, %s; modules\n%v\n%v", bare.BuildID, whole.GoVersion, bare.GoVersion, whole.Info, bare.Info)
		}
		if a, b := whole.fipsText(), bare.fipsText(); a != b {
			t.Errorf("FIPS text %#x, %#x", a, b)
		}
	}
	source := shapes(t)
	for _, version := range testprog.Versions() {
		for _, o := range []testprog.Options{
			{GoVersion: version},
			{GoVersion: version, Flags: []string{"-buildmode=pie"}},
			{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=pie", "-ldflags=-linkmode=external"}},
		} {
			t.Run(o.String(), func(t *testing.T) {
				whole := open(t, testprog.Build(t, source, o))
				o.NoHeaders = true
				compare(t, whole, open(t, testprog.Build(t, source, o)))
			})
		}
	}
	t.Run("go", func(t *testing.T) {
		path := goCommand(t)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[40:48]) // e_shoff
		clear(data[58:64]) // e_shentsize, e_shnum, e_shstrndx
		bare, err := NewFile(bytes.NewReader(data), path)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, open(t, path), bare)
	})
}

// A C linker leaves no section for the function table in position-independent
// executables of Go before 1.26; other tools may drop all section headers.
func TestTableIsFoundWithoutItsSection(t *testing.T) {
	source := shapes(t)
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{nil, {"-buildmode=pie"}} {
			o := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(o.String(), func(t *testing.T) {
				f := open(t, testprog.Build(t, source, o))
				want := f.table
				for _, s := range f.elf.Sections {
					if strings.HasSuffix(s.Name, "gopclntab") {
						s.Name = ".hidden"
					}
				}
				got, err := f.findTable()
				if err != nil {
					t.Fatal(err)
				}
				// Nobody says where its last part ends.
				got.records.end = want.records.end
				if got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			})
		}
	}
}
