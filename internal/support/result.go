package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// packages have the tests of the kernel side.
var packages = []string{"./bpf", "./instrument/attach", "./instrument"}

// belowFloor is the kernel on which there is but a refusal, and its test.
const belowFloor, refusal = "5.10", "TestBelowFloor"

// A result is what came of the tests on one machine.
type result struct {
	Kernel, Arch string
	// Release is the kernel's own word for its version.
	Release string
	Passed  int
	Failed  []string
	// Skipped are the tests that did not run, with the reason.
	Skipped map[string]string
	Cells   []cell
}

// A cell is one build of the counting program.
type cell struct {
	Go, Build string
	// Spans says what there was: "exact", "calls" where there is no DWARF to tell
	// of arguments, or "failed", "skipped".
	Spans string
}

// event is a line of `go test -json`.
type event struct {
	Action, Package, Test, Output, Key, Value string
}

// test runs the tests on the machine.
func (m machine) test() (*result, error) {
	args := []string{"test", "-json", "-short", "-count=1", "-p=1", "-timeout=30m"}
	if m.kernel == belowFloor {
		args = append(args, "-run="+refusal)
	}
	env := append(os.Environ(), "REQUIRE_BPF=1")
	if m.kernel != "" {
		guest, err := filepath.Abs("bin/guest")
		if err != nil {
			return nil, err
		}
		args = append(args, "-exec="+guest+" -kernel "+m.kernel)
		env = append(env, "GOARCH="+m.arch, "CGO_ENABLED=0")
	}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &result{Kernel: cmp.Or(m.kernel, "this"), Arch: m.arch, Skipped: make(map[string]string)}
	if m.kernel == "" {
		r.Release = thisRelease()
	}
	err = r.read(events)
	var exit *exec.ExitError
	if ended := cmd.Wait(); err == nil && !errors.As(ended, &exit) {
		err = ended
	}
	if err == nil && r.Release == "" {
		err = errors.New("no test ran")
	}
	return r, err
}

func thisRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// read takes the events of `go test -json`.
func (r *result) read(events io.Reader) error {
	type test struct {
		cell
		output []string
	}
	tests := make(map[string]*test)
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // a line of a build
		}
		name := strings.TrimPrefix(e.Package, "github.com/uspan/uspan/") + " " + e.Test
		t := tests[name]
		if t == nil {
			t = new(test)
			tests[name] = t
		}
		switch e.Action {
		case "output":
			t.output = append(t.output, e.Output)
			if release, found := strings.CutPrefix(e.Output, "guest: Linux "); found {
				r.Release, _, _ = strings.Cut(release, " ")
			}
		case "attr":
			switch e.Key {
			case "built":
				t.Go, t.Build, _ = strings.Cut(e.Value, " ")
			case "spans":
				t.Spans = e.Value
			}
		case "pass", "fail", "skip":
			if e.Test == "" {
				if e.Action == "fail" {
					fmt.Printf("FAIL %s\n%s", e.Package, strings.Join(t.output, ""))
					r.Failed = append(r.Failed, strings.TrimSpace(name))
				}
				continue
			}
			r.end(name, e.Action, &t.cell, t.output)
		}
	}
	return lines.Err()
}

// end takes what came of a test.
func (r *result) end(name, action string, c *cell, output []string) {
	switch action {
	case "pass":
		r.Passed++
	case "fail":
		c.Spans = "failed"
		r.Failed = append(r.Failed, name)
		fmt.Printf("FAIL %s\n%s", name, strings.Join(output, ""))
	case "skip":
		c.Spans = "skipped"
		r.Skipped[name] = reason(output)
	}
	if c.Go != "" {
		r.Cells = append(r.Cells, *c)
	}
}

// reason is what a test that was skipped said: `    file.go:1: reason`.
func reason(output []string) string {
	for _, line := range output {
		if place, said, found := strings.Cut(line, ": "); found && strings.Contains(place, ".go:") {
			return strings.TrimSpace(said)
		}
	}
	return ""
}

func (r *result) write(path string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// readResults reads those of this time and of times before, by kernel.
func readResults(dir string) ([]*result, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []*result
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r := new(result)
		if err := json.NewDecoder(bytes.NewReader(data)).Decode(r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *result) int {
		return cmp.Or(compareVersions(a.Release, b.Release), cmp.Compare(a.Arch, b.Arch))
	})
	return all, nil
}

// compareVersions compares the numbers of two versions one after the other.
func compareVersions(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

// numbers are those that a version begins with: 6.1.0-50-cloud-amd64 is 6, 1, 0, 50.
func numbers(version string) (all []int) {
	n, digits := 0, false
	for _, c := range strings.TrimPrefix(version, "go") + " " {
		switch {
		case '0' <= c && c <= '9':
			n, digits = n*10+int(c-'0'), true
		case digits:
			all = append(all, n)
			n, digits = 0, false
		default:
			return all
		}
	}
	return all
}
