package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// The entries of an archive are where the kernel looks for them: each header and
// each content begins at a multiple of four bytes.
func TestPack(t *testing.T) {
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
	data := make([]byte, 1<<20)
	n, err := packed.ReadAt(data, 0)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for rest := data[:n]; ; {
		var field [13]int
		if string(rest[:6]) != "070701" {
			t.Fatalf("no header: %q", rest[:6])
		}
		for i := range field {
			v, err := strconv.ParseUint(string(rest[6+8*i:][:8]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = int(v)
		}
		size, length := field[6], field[11]
		name := string(rest[110:][:length-1])
		if name == "TRAILER!!!" {
			break
		}
		content := (110 + length + 3) &^ 3
		got["/"+name] = string(rest[content:][:size])
		rest = rest[(content+size+3)&^3:]
	}
	for _, path := range []string{file, "/lib64/ld.so"} {
		if got[path] != "12345" {
			t.Errorf("%s: %q", path, got[path])
		}
	}
	if _, there := got["/dev/console"]; !there || got["/job.json"] == "" {
		t.Errorf("no console, or no job: %v", got)
	}
}

// A dynamically linked program comes with all that it loads.
func TestLibraries(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	arch, err := architecture(sh)
	if err != nil {
		t.Fatal(err)
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
