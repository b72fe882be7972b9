// Package realserver builds and runs servers of other projects for tests, from
// their published modules: what spans are sent to is the real thing.
package realserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A Program is an executable that is compiled once on a machine, and kept in
// the user's cache directory.
type Program struct {
	Name, Version string
	// Make leaves the executable in the empty folder dir, under Name.
	Make func(dir string) error
}

// Build returns the path of the executable. The first call on a machine
// compiles it, which takes minutes. Short tests have no time for that: they are
// skipped.
func (p Program) Build(t testing.TB) string {
	t.Helper()
	executable, err := p.path()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(executable); err != nil {
		if testing.Short() {
			t.Skipf("building %s takes minutes: not with -short", p.Name)
		}
		t.Logf("building %s %s (some minutes, once)", p.Name, p.Version)
	}
	if executable, err = p.Executable(); err != nil {
		t.Fatal(err)
	}
	return executable
}

// Executable is Build without a test.
func (p Program) Executable() (string, error) {
	executable, err := p.path()
	if err != nil {
		return "", err
	}
	if err := p.build(executable); err != nil {
		return "", fmt.Errorf("build %s: %w", p.Name, err)
	}
	return executable, nil
}

func (p Program) path() (string, error) {
	caches, err := os.UserCacheDir()
	return filepath.Join(caches, "uspan-"+p.Name+"test", p.Name+"-"+p.Version), err
}

// build makes the executable, unless it is there.
func (p Program) build(executable string) error {
	if _, err := os.Stat(executable); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(executable), 0o755); err != nil {
		return err
	}
	lock, err := os.Create(executable + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(executable); err == nil {
		return nil // by another test, while this one waited
	}
	dir, err := os.MkdirTemp(filepath.Dir(executable), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := p.Make(dir); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, p.Name), executable)
}

// Go runs the go command in a folder outside of this module, for executables
// that are linked statically, and returns its standard output.
func Go(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
	}
	return out, err
}
