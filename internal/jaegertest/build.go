package jaegertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/realserver"
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

var program = realserver.Program{Name: "jaeger", Version: Version, Make: compile}

// Build returns the path of a statically linked Jaeger. The first call on a
// machine compiles it, which takes minutes.
func Build(t testing.TB) string {
	t.Helper()
	return program.Build(t)
}

// Executable is Build without a test.
func Executable() (string, error) { return program.Executable() }

// compile makes a module of its own: installing Jaeger directly is refused,
// since its go.mod has a replace directive.
func compile(dir string) error {
	if _, err := realserver.Go(dir, "mod", "init", "jaeger"); err != nil {
		return err
	}
	if err := copySums(dir); err != nil {
		return err
	}
	if _, err := realserver.Go(dir, "get", "-tool", command+"@"+moduleVersion); err != nil {
		return err
	}
	_, err := realserver.Go(dir, "build", "-trimpath", "-ldflags=-s -w", "-o", "jaeger", command)
	return err
}

// copySums begins the module's go.sum with Jaeger's own, which has hashes of
// modules that the checksum database does not know.
func copySums(dir string) error {
	out, err := realserver.Go(dir, "mod", "download", "-json", module+"@"+moduleVersion)
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
