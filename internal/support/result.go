package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// packages have the tests of the kernel side.
var packages = []string{"./bpf", "./instrument/attach", "./instrument/doctor", "./instrument"}

// belowFloor is the kernel on which there is but a refusal, and its tests.
const belowFloor, refusal = "5.10", "TestBelowFloor"

// onlyHere needs a go command, and several hundred megabytes of its sources.
const onlyHere = "TestScale"

// A result is what came of the tests on one machine.
type result struct {
	Kernel, Arch string
	// Release is the kernel's own word for its version.
	Release string
	// Tests are by package and name.
	Tests map[string]outcome
	// Missing are the top-level tests that have not run yet.
	Missing []string `json:"-"`
}

// An outcome is what came of a test.
type outcome struct {
	Action string // pass, fail, skip
	Reason string `json:",omitempty"` // why it did not run
	Commit string `json:",omitempty"` // that was tested
	// Go and Build are, of a test of the counting program, the release and the way
	// to build, and Spans what was compared: "exact", or "calls" where only their
	// number was.
	Go    string `json:",omitempty"`
	Build string `json:",omitempty"`
	Spans string `json:",omitempty"`
}

// with are the tests, in order, of which something came.
func (r *result) with(action string) (names []string) {
	for name, o := range r.Tests {
		if o.Action == action {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// commits are those that were tested, in order.
func (r *result) commits() (all []string) {
	for _, o := range r.Tests {
		if o.Action != "skip" {
			all = append(all, o.Commit)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// failedIn says whether a test of a package failed.
func (r *result) failedIn(name string) bool {
	return slices.ContainsFunc(r.with("fail"), func(test string) bool { return strings.HasPrefix(test, name+" ") })
}

// cells are the tests of the counting program, in order.
func (r *result) cells() (all []outcome) {
	for _, name := range slices.Sorted(maps.Keys(r.Tests)) {
		if o := r.Tests[name]; o.Go != "" {
			all = append(all, o)
		}
	}
	return all
}

// merge takes over the outcomes of tests that ran another time on the same kernel: of
// those that have not run now, and of parts, where not all parts have run now.
func (r *result) merge(before *result, parts bool) {
	if before.Release != r.Release {
		return
	}
	ran := maps.Clone(r.Tests)
	for name, o := range before.Tests {
		// That a package failed is about the tests that ran with it.
		top, isTest := topLevel(name)
		_, again := ran[name]
		_, whole := ran[top]
		if isTest && !again && (parts || !whole) {
			r.Tests[name] = o
		}
	}
}

// settle forgets what came of tests that are no longer among those of the machine,
// and finds those that are missing: a test of which only parts have an outcome did
// not end.
func (r *result) settle(tests []string) {
	for name := range r.Tests {
		if top, isTest := topLevel(name); isTest && !slices.Contains(tests, top) {
			delete(r.Tests, name)
		}
	}
	r.Missing = slices.DeleteFunc(slices.Clone(tests), func(name string) bool {
		_, ended := r.Tests[name]
		return ended
	})
}

// machine is what it is the result of.
func (r *result) machine() machine {
	if r.Kernel == "this" {
		return machine{"", r.Arch}
	}
	return machine{r.Kernel, r.Arch}
}

// event is a line of `go test -json`.
type event struct {
	Action, Package, Test, Output, Key, Value string
}

// test runs tests of a commit on the machine: those that match a pattern.
func (m machine) test(run, commit string) (*result, error) {
	args := []string{"test", "-json", "-short", "-count=1", "-p=1", "-timeout=3h"}
	if m.kernel == belowFloor {
		run = refusal
	}
	args = append(args, "-run="+run)
	if m.kernel != "" {
		guest, err := filepath.Abs("bin/guest")
		if err != nil {
			return nil, err
		}
		args = append(args, "-exec="+guest+" -steady -kernel "+m.kernel, "-skip=^"+onlyHere+"$")
	}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Env, cmd.Stderr = m.env(), os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &result{Kernel: cmp.Or(m.kernel, "this"), Arch: m.arch, Tests: make(map[string]outcome)}
	if m.kernel == "" {
		r.Release = thisRelease()
	}
	err = r.read(events, commit)
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

// read takes the events of `go test -json` of a commit.
func (r *result) read(events io.Reader, commit string) error {
	outcomes, outputs := make(map[string]outcome), make(map[string][]string)
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // a line of a build
		}
		name := testName(e.Package, e.Test)
		o := outcomes[name]
		switch e.Action {
		case "output":
			outputs[name] = append(outputs[name], e.Output)
			if release, found := strings.CutPrefix(e.Output, "guest: Linux "); found {
				r.Release, _, _ = strings.Cut(release, " ")
			}
		case "attr":
			switch e.Key {
			case "built":
				o.Go, o.Build, _ = strings.Cut(e.Value, " ")
			case "spans":
				o.Spans = e.Value
			}
		case "pass", "fail", "skip":
			o.Action, o.Commit = e.Action, commit
			if e.Action == "fail" {
				fmt.Printf("FAIL %s\n%s", name, strings.Join(outputs[name], ""))
			}
			if e.Action == "skip" {
				o.Reason = reason(outputs[name])
			}
			// A package is a test only where it failed and none of its tests did.
			if e.Test != "" || e.Action == "fail" && !r.failedIn(name) {
				r.Tests[name] = o
			}
		}
		outcomes[name] = o
	}
	return lines.Err()
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

// readResults reads those of this time and of times before, by kernel and architecture.
func readResults(dir string) ([]*result, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []*result
	for _, path := range paths {
		r, err := readResult(path)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *result) int {
		return cmp.Or(compareVersions(a.Release, b.Release), cmp.Compare(a.Arch, b.Arch))
	})
	return all, nil
}

func readResult(path string) (*result, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(result)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
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
