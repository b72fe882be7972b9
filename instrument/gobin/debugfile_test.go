package gobin

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// A debug file has to belong to the executable.
func TestDebugFile(t *testing.T) {
	const source = "-- go.mod --\nmodule example.com/stripped\n\ngo 1.18\n-- main.go --\npackage main\n\nfunc main() { println(f(1)) }\n\n//go:noinline\nfunc f(n int) int { return n + %s }\n"
	dir := t.TempDir()
	tool := func(args ...string) {
		t.Helper()
		if _, err := exec.LookPath(args[0]); err != nil {
			kerneltest.Missing(t, "needs %s", args[0])
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	for _, name := range []string{"one", "two"} {
		exe := testprog.Build(t, strings.ReplaceAll(source, "%s", map[string]string{"one": "1", "two": "2"}[name]), testprog.Options{})
		path := filepath.Join(dir, name)
		tool("objcopy", "--only-keep-debug", exe, path+".debug")
		tool("strip", "-o", path, exe)
	}
	read := func(path, debug string) (*File, error) {
		t.Helper()
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if debug != "" {
			err = f.UseDebugFile(debug)
		}
		return f, err
	}
	signature := func(f *File) (*Signature, error) {
		for _, fn := range f.Functions() {
			if fn.Symbol == "main.f" {
				return f.Signature(&fn)
			}
		}
		t.Fatal("no main.f")
		return nil, nil
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")

	f, err := read(one, "")
	if _, none := signature(f); err != nil || !errors.Is(none, ErrNoDWARF) || f.DebugProblem() != nil || f.DebugFile() != "" {
		t.Errorf("without a debug file: %v, %v, %v", err, none, f.DebugProblem())
	}
	f, err = read(one, one+".debug")
	if err != nil {
		t.Fatal(err)
	}
	if sig, err := signature(f); err != nil || len(sig.Params) != 1 || sig.Params[0].Name != "n" || f.DebugFile() != one+".debug" {
		t.Errorf("%+v, %v, from %s", sig, err, f.DebugFile())
	}
	for path, want := range map[string]string{
		two + ".debug": "it belongs to another executable",
		two:            "it belongs to another executable",
		one:            "it has no DWARF",
		dir:            "it is not a regular file",
		dir + "/none":  "no such file",
		"/etc/passwd":  "it is no ELF file",
	} {
		if _, err := read(one, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}

	// What the link leads to is not what it was.
	linked := filepath.Join(dir, "linked")
	tool("objcopy", "--add-gnu-debuglink="+one+".debug", one, linked)
	if f, _ := read(linked, ""); f != nil {
		if _, err := signature(f); err != nil {
			t.Errorf("by the link: %v", err)
		}
	}
	if err := os.Rename(two+".debug", one+".debug"); err != nil {
		t.Fatal(err)
	}
	f, _ = read(linked, "")
	_, err = signature(f)
	if !errors.Is(err, ErrNoDWARF) || f.DebugProblem() == nil || !strings.Contains(f.DebugProblem().Error(), "belongs to another") {
		t.Errorf("by the link to another file: %v, %v", err, f.DebugProblem())
	}
}

// Debug files are found where distributions put them: by the build ID, and by the
// link below the path of the executable. The test has a /usr/lib of its own.
func TestSystemDebugFile(t *testing.T) {
	const source = "-- go.mod --\nmodule example.com/packaged\n\ngo 1.18\n-- main.go --\npackage main\n\nfunc main() { println(f(1)) }\n\n//go:noinline\nfunc f(n int) int { return n + 1 }\n"
	withID := testprog.Build(t, source, testprog.Options{Flags: []string{"-ldflags=-B 0x0123456789abcdef"}})
	kerneltest.RequireRoot(t)
	runtime.LockOSThread() // for good: the thread ends with the test
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	dir := t.TempDir()
	exe, debug := filepath.Join(dir, "app"), filepath.Join(dir, "symbols", "app.debug")
	if err := os.Mkdir(filepath.Dir(debug), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"objcopy", "--only-keep-debug", withID, debug}, {"strip", "-o", exe, withID}, {"objcopy", "--add-gnu-debuglink=" + debug, exe, exe + "-linked"},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			kerneltest.Missing(t, "needs %s", args[0])
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	if err == nil {
		err = unix.Mount("none", "/usr/lib", "tmpfs", 0, "")
	}
	if err != nil {
		kerneltest.Missing(t, "needs a mount namespace: %v", err)
	}
	content, err := os.ReadFile(debug)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, content []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(exe, from, problem string) {
		t.Helper()
		f, err := Open(exe)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, fn := range f.Functions() {
			if fn.Symbol != "main.f" {
				continue
			}
			sig, err := f.Signature(&fn)
			if found := err == nil && len(sig.Params) == 1 && sig.Params[0].Name == "n"; found != (from != "") || f.DebugFile() != from {
				t.Errorf("%s: %v, from %q, want %q", exe, err, f.DebugFile(), from)
			}
			if got := f.DebugProblem(); (got != nil) != (problem != "") || got != nil && !strings.Contains(got.Error(), problem) {
				t.Errorf("%s: problem %v, want %q", exe, got, problem)
			}
			return
		}
		t.Error("no main.f")
	}
	check(exe, "", "")
	check(exe+"-linked", "", "")
	byLink := debugRoot + dir + "/app.debug"
	put(byLink, content)
	check(exe, "", "")
	check(exe+"-linked", byLink, "")
	byID := debugRoot + "/.build-id/01/23456789abcdef.debug"
	put(byID, content)
	check(exe, byID, "")
	check(exe+"-linked", byID, "")
	put(byID, []byte("none"))
	check(exe, "", "debug file "+byID+": it is no ELF file")
	check(exe+"-linked", byLink, "")
}
