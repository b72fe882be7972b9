package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/uspan/uspan/internal/testprog"
)

// TestMain puts a uspan into $PATH that is the test binary: it is uspan by its
// name, which nothing that it starts inherits.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"uspan": main})
}

// shop builds the program of testdata/shop.txtar, the same wherever it is built.
func shop(t testing.TB) string {
	t.Helper()
	return shopFor(t, "")
}

// shopFor is the shop for an architecture.
func shopFor(t testing.TB, arch string) string {
	t.Helper()
	source, err := os.ReadFile("testdata/shop.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return testprog.Build(t, string(source), testprog.Options{GoVersion: "go1.26.8", GOARCH: arch, Flags: []string{"-trimpath"}})
}

// charge builds the program of testdata/charge.txtar, without DWARF.
func charge(t testing.TB) string {
	t.Helper()
	source, err := os.ReadFile("testdata/charge.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return testprog.Build(t, string(source), testprog.Options{GoVersion: "go1.26.8", Flags: []string{"-trimpath", "-ldflags=-s -w"}})
}

// forAll lets every user execute uspan, which may be in a folder of root's.
func forAll(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("uspan")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		path = filepath.Dir(path)
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
