package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// openError is the error of opening a file.
func openError(t *testing.T, path string) string {
	t.Helper()
	f, err := Open(path)
	if err == nil {
		f.Close()
		t.Fatalf("%s is opened", path)
	}
	if !strings.Contains(err.Error(), path) {
		t.Errorf("%v does not name the file", err)
	}
	return err.Error()
}

// A library runs in processes of other executables.
func TestSharedLibrariesAreRefused(t *testing.T) {
	const source = "-- go.mod --\nmodule example.com/library\ngo 1.18\n-- main.go --\npackage main\n\n" +
		"import \"C\"\n\n//export Run\nfunc Run(n int) int { return n + 1 }\n\nfunc main() {}\n"
	for _, version := range testprog.Versions() {
		for _, mode := range []string{"c-shared", "plugin"} {
			o := testprog.Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=" + mode}}
			t.Run(o.String(), func(t *testing.T) {
				path := testprog.Build(t, source, o)
				got := openError(t, path)
				if !strings.Contains(got, "is a shared library") || !strings.Contains(got, "-buildmode=c-archive") {
					t.Errorf("error %q", got)
				}
				// A build that does not say how it was made is told by its headers.
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				data = bytes.ReplaceAll(data, []byte("-buildmode="), []byte("-buildm0de="))
				if _, err := NewFile(bytes.NewReader(data), path); err == nil || err.Error() != got {
					t.Errorf("without the setting: %v", err)
				}
			})
		}
	}
}

// What UPX leaves is a loader's segments, and its mark behind the headers
// (l_info); the real tool is in no Debian that has this compiler.
func TestCompressedExecutablesAreRefused(t *testing.T) {
	var b bytes.Buffer
	ident := [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT), byte(elf.ELFOSABI_LINUX)}
	write := func(part any) {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	write(elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: 0x44a0c8, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 3})
	write(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Vaddr: 0x400000, Filesz: 0x1000, Memsz: 0x200000, Align: 0x1000})
	write(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: 0x600000, Filesz: 0x2000, Memsz: 0x2000, Align: 0x1000})
	write(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)})
	write(struct {
		Checksum        uint32
		Magic           [4]byte
		Size            uint16
		Version, Format uint8
	}{0x1234, [4]byte{'U', 'P', 'X', '!'}, 0x6c8, 13, 22})
	b.Write(make([]byte, 0x2000))
	path := filepath.Join(t.TempDir(), "packed")
	if err := os.WriteFile(path, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := openError(t, path); !strings.Contains(got, "is compressed (UPX)") || !strings.Contains(got, "upx -d "+path) {
		t.Errorf("error %q", got)
	}
}

// Without names nothing says what must not be probed. garble takes the version
// and the function table away, too.
func TestObfuscatedExecutablesAreRefused(t *testing.T) {
	whole, err := os.ReadFile(testprog.Build(t, shapes(t), testprog.Options{Flags: []string{"-ldflags=-s -w"}}))
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFile(bytes.NewReader(whole), "whole")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := f.Offset(f.table.names.start)
	for name, change := range map[string]func([]byte){
		"garble": func(p []byte) {
			// The length of the version and the version, then no modules.
			copy(p[bytes.Index(p, []byte("\xff Go buildinf:\x08\x02"))+32:], "\x07unknown\x00")
		},
		"names": func(p []byte) {
			all := p[names:][:f.table.names.size()]
			copy(all, bytes.ReplaceAll(all, []byte("runtime."), []byte("qx_n0t1_")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(whole)
			change(data)
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, data, 0o755); err != nil {
				t.Fatal(err)
			}
			if got := openError(t, path); !strings.Contains(got, "was obfuscated") || !strings.Contains(got, "trace a build that is not") {
				t.Errorf("error %q", got)
			}
		})
	}
}
