// Command support runs the tests of the kernel side on this kernel and, in
// virtual machines, on others (internal/guest). It keeps what came of them, and, once it
// has results of every machine, writes docs/support.md and the table in the README from
// them: what did not run is named in there.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// A machine is what tests run on.
type machine struct {
	kernel string // of internal/guest, or empty for this one
	arch   string
}

func (m machine) String() string {
	if m.kernel == "" {
		return "this-" + m.arch
	}
	return m.kernel + "-" + m.arch
}

// path is where its results are.
func (m machine) path(results string) string { return filepath.Join(results, m.String()+".json") }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "support:", err)
		os.Exit(1)
	}
}

func run() error {
	const allKernels, allArches = "this,5.10,6.1,6.12,7", "amd64,arm64"
	kernels := flag.String("kernels", allKernels, "kernels to test on: this one, and those of internal/guest; with none, what is kept is written anew")
	arches := flag.String("arch", allArches, "architectures to test on")
	pattern := flag.String("run", "", "run only tests that match, and keep what came of the others the last time")
	results := flag.String("results", "docs/support", "directory of the results, which are kept for the next time")
	flag.Parse()
	if err := os.MkdirAll(*results, 0o755); err != nil {
		return err
	}
	commit, err := describe()
	if err != nil {
		return fmt.Errorf("which commit is this: %w", err)
	}
	var failed []string
	for _, m := range machines(split(*kernels), split(*arches)) {
		fmt.Println("==", m)
		r, err := m.test(*pattern, commit)
		if err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
		fmt.Printf("%s: %d tests passed, %d failed, %d did not run\n",
			r.Release, len(r.with("pass")), len(r.with("fail")), len(r.with("skip")))
		if len(r.with("fail")) > 0 {
			failed = append(failed, m.String())
		}
		path := m.path(*results)
		if before, err := readResult(path); err == nil && *pattern != "" {
			r.merge(before, strings.Contains(*pattern, "/"))
		}
		tests, err := m.tests()
		if err != nil {
			return err
		}
		r.settle(tests)
		if err := r.write(path); err != nil {
			return err
		}
	}
	all, err := settled(*results)
	if err != nil {
		return err
	}
	if missing := without(machines(split(allKernels), split(allArches)), *results); len(missing) > 0 {
		fmt.Printf("docs/support.md stays as it is: there are no results yet of %s\n", strings.Join(missing, ", "))
	} else if err := writePage("docs/support.md", "README.md", all); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("tests failed on %s", strings.Join(failed, ", "))
	}
	return nil
}

// settled are the results that are kept, set against the tests that there are now.
func settled(results string) ([]*result, error) {
	all, err := readResults(results)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		tests, err := r.machine().tests()
		if err != nil {
			return nil, err
		}
		r.settle(tests)
	}
	return all, nil
}

// without are the machines that there are no results of.
func without(machines []machine, results string) (missing []string) {
	for _, m := range machines {
		if _, err := os.Stat(m.path(results)); err != nil {
			missing = append(missing, m.String())
		}
	}
	return missing
}

// describe is the commit that is tested, with a mark where more is than was committed,
// beside what this command writes.
func describe() (string, error) {
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("describe", "--always")
	if err != nil {
		return "", err
	}
	changed, err := git("status", "--porcelain", "--", ".", ":!docs/support", ":!docs/support.md", ":!README.md")
	if err == nil && changed != "" {
		commit += "-dirty"
	}
	return commit, err
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// machines are all kernels with all architectures; this one has but its own.
func machines(kernels, arches []string) (all []machine) {
	for _, arch := range arches {
		for _, kernel := range kernels {
			switch {
			case kernel != "this":
				all = append(all, machine{kernel, arch})
			case arch == runtime.GOARCH:
				all = append(all, machine{"", arch})
			}
		}
	}
	return all
}
