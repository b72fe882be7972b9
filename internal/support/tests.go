package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// declared is how a top-level test is declared.
var declared = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// tests are the top-level tests that the machine has to run, by package and name, in
// order.
func (m machine) tests() (names []string, err error) {
	const files = "{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}\n{{end}}" +
		"{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}\n{{end}}"
	list := exec.Command("go", append([]string{"list", "-f", files}, packages...)...)
	list.Env, list.Stderr = m.env(), os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("which tests are there: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, test := range declared.FindAllSubmatch(source, -1) {
			if name := string(test[1]); m.runs(name) {
				names = append(names, testName(pkg, name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// runs says whether the machine is one for a test.
func (m machine) runs(name string) bool {
	switch m.kernel {
	case "":
		return true
	case belowFloor:
		return name == refusal
	}
	return name != onlyHere
}

// env is the environment of commands for the machine.
func (m machine) env() []string {
	env := append(os.Environ(), "REQUIRE_BPF=1", "TEST_MINORS=1")
	if m.kernel != "" {
		env = append(env, "GOARCH="+m.arch, "CGO_ENABLED=0")
	}
	return env
}

// testName is how results name a test, or a package, where there is none.
func testName(pkg, test string) string {
	return strings.TrimSpace(strings.TrimPrefix(pkg, "github.com/uspan/uspan/") + " " + test)
}

// topLevel is the name of the test that a test is part of; false for a package.
func topLevel(name string) (string, bool) {
	pkg, test, isTest := strings.Cut(name, " ")
	test, _, _ = strings.Cut(test, "/")
	return testName(pkg, test), isTest
}
