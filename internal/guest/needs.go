package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// needs builds the programs that a test runs, and returns their paths. It is the
// test itself that says which: package testprog takes note of every program, and
// kerneltest.Require, which a test calls when it has its programs, ends it there.
// A test for another architecture is built for this one to be asked.
func needs(executable, arch string, arguments []string) ([]string, error) {
	dir, err := os.MkdirTemp("", "guest-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if arch != runtime.GOARCH {
		path := filepath.Join(dir, "test")
		build := exec.Command("go", "test", "-c", "-o", path, ".")
		build.Env = append(os.Environ(), "GOARCH="+runtime.GOARCH)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the test for this machine: %w\n%s", err, out)
		}
		executable = path
	}
	list := filepath.Join(dir, "programs")
	test := exec.Command(executable, slices.DeleteFunc(slices.Clone(arguments), isFile)...)
	test.Env = append(os.Environ(), "TESTPROG_LIST="+list, "TESTPROG_GOARCH="+arch)
	var out bytes.Buffer
	test.Stdout, test.Stderr = &out, &out
	if err := test.Run(); err != nil {
		return nil, fmt.Errorf("build the programs of the test: %w\n%s", err, out.Bytes())
	}
	data, err := os.ReadFile(list)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	paths := strings.Fields(string(data))
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// isFile says that an argument names a file for the test to write, or makes it
// write a lot.
func isFile(argument string) bool {
	for _, name := range []string{"-test.coverprofile", "-test.testlogfile", "-test.cpuprofile", "-test.v"} {
		if strings.HasPrefix(argument, name) {
			return true
		}
	}
	return false
}
