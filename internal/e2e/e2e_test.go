// Package e2e tests the built command from outside, against the real systems
// that its users have: Jaeger, and Docker.
package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Paths are relative to this package's directory, where go test runs.
const root = "../.."

// build compiles commands of this module, static as in the images, into one
// directory, and returns it.
func build(t *testing.T, packages ...string) string {
	t.Helper()
	return buildIn(t, root, packages...)
}

// buildIn does so with commands of the module in a directory.
func buildIn(t *testing.T, module string, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range packages {
		cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/", p)
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", p, err, out)
		}
	}
	return dir
}

// run runs a command to its end and returns its standard output.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(name), err, &stdout, &stderr)
	}
	if stderr.Len() > 0 {
		t.Logf("%s:\n%s", filepath.Base(name), &stderr)
	}
	return stdout.Bytes()
}
