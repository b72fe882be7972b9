package jaegertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Jaeger 2.13.0 and 1.76.0 are one commit; Go knows it by the older number,
// since its module path has no /v2.
const (
	module        = "github.com/jaegertracing/jaeger"
	moduleVersion = "v1.76.0"
	command       = module + "/cmd/jaeger"
	// Version is what its users call it.
	Version = "2.13.0"
)

// Build returns the path of a statically linked Jaeger. The first call on a
// machine compiles it, which takes minutes, and keeps it in the user's cache
// directory. Short tests have no time for that: they are skipped.
func Build(t testing.TB) string {
	t.Helper()
	executable, err := cached()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(executable); err == nil {
		return executable
	}
	if testing.Short() {
		t.Skip("building Jaeger takes minutes: not with -short")
	}
	t.Logf("building Jaeger %s (some minutes, once)", Version)
	if err := build(executable); err != nil {
		t.Fatalf("build jaeger: %v", err)
	}
	return executable
}

func cached() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "uspan-jaegertest", "jaeger-"+Version), nil
}

// build compiles Jaeger in a module of its own: installing it directly is
// refused, since its go.mod has a replace directive.
func build(executable string) error {
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
	if _, err := goCommand(dir, "mod", "init", "jaeger"); err != nil {
		return err
	}
	if err := copySums(dir); err != nil {
		return err
	}
	if _, err := goCommand(dir, "get", "-tool", command+"@"+moduleVersion); err != nil {
		return err
	}
	if _, err := goCommand(dir, "build", "-trimpath", "-ldflags=-s -w", "-o", "jaeger", command); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "jaeger"), executable)
}

// copySums begins the module's go.sum with Jaeger's own, which has hashes of
// modules that the checksum database does not know.
func copySums(dir string) error {
	out, err := goCommand(dir, "mod", "download", "-json", module+"@"+moduleVersion)
	if err != nil {
		return err
	}
	var source struct{ Dir string }
	if err := json.Unmarshal(out, &source); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(source.Dir, "go.sum"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600)
}

func goCommand(dir string, args ...string) ([]byte, error) {
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
