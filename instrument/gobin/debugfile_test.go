package gobin

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
