package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestConsole(t *testing.T) {
	for _, test := range []struct {
		name, console, want string
		status              int
		fails               bool
	}{
		{name: "passed", console: "guest: Linux\r\nPASS\r\n@guest: exit status 0\r\n[ 9.1] reboot: Power down\r\n", want: "guest: Linux\nPASS\n"},
		{name: "failed", console: "FAIL\r\n@guest: exit status 1\r\n", want: "FAIL\n", status: 1},
		{name: "no end of line", console: "half@guest: exit status 2\r\n", want: "half\n", status: 2},
		{name: "empty lines", console: "a\r\n\r\nb\r\n@guest: exit status 0\r\n", want: "a\n\nb\n"},
		{name: "panic", console: "PASS\r\n[ 7.0] Kernel panic\r\n", want: "PASS\n[ 7.0] Kernel panic\n\n", fails: true},
		{name: "half a marker", console: "PASS\r\n@guest: exit status 0", want: "PASS\n", fails: true},
		{name: "nothing", fails: true, want: "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			status, err := copyConsole(&out, strings.NewReader(test.console))
			if (err != nil) != test.fails || status != test.status || out.String() != test.want {
				t.Errorf("status %d, error %v, output %q; want %d, %t, %q", status, err, out.String(), test.status, test.fails, test.want)
			}
		})
	}
}

// cpio(1) reads what pack writes, where there is one.
func TestPack(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "some file")
	if err := os.WriteFile(file, []byte("12345"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &root{files: map[string]string{file: file, "/lib64/ld.so": file}}
	packed, err := r.pack()
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	if _, err := packed.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cpio := exec.Command("cpio", "--extract", "--make-directories", "--no-absolute-filenames", "--nonmatching", "dev/*")
	cpio.Dir, cpio.Stdin = dir, packed
	if out, err := cpio.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	for _, path := range []string{file, "/lib64/ld.so"} {
		if data, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(data) != "12345" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
}

// A dynamically linked program comes with all that it loads.
func TestLibraries(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	arch, err := architecture(sh)
	if err != nil {
		t.Skip(err)
	}
	r := &root{arch: arch, files: make(map[string]string)}
	if err := r.addLibraries(sh); err != nil {
		t.Fatal(err)
	}
	libc := ""
	for path := range r.files {
		if strings.HasSuffix(path, "/libc.so.6") {
			libc = path
		}
	}
	if libc == "" || len(r.files) < 2 {
		t.Errorf("libraries of %s: %v", sh, r.files)
	}
}
