package instrument_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// archiveOf is a program of testdata as a module that every release takes, its own
// where it has one.
func archiveOf(t testing.TB, name string) string {
	t.Helper()
	files, err := filepath.Glob("testdata/" + name + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	archive := "-- go.mod --\nmodule example.com/" + name + "\n\ngo 1.18\n"
	if _, err := os.Stat("testdata/" + name + "/go.mod"); err == nil {
		archive, files = "", append(files, "testdata/"+name+"/go.mod", "testdata/"+name+"/go.sum")
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archive += "-- " + filepath.Base(file) + " --\n" + string(source)
	}
	return archive
}

// treeMatrix are the ways to build in which trees are looked at: every release, and
// the newest, with TEST_ALL=1 the oldest too, without optimisation and with the race
// detector.
func treeMatrix() []testprog.Options {
	var all []testprog.Options
	for _, version := range testprog.Versions() {
		all = append(all, testprog.Options{GoVersion: version})
	}
	if os.Getenv("TEST_ALL") != "1" {
		return append(all, unusual(newest)...)
	}
	return append(all, unusual(oldest, newest)...)
}

// unusual are builds without optimisation and, where they can be had, with the race
// detector.
func unusual(versions ...string) (all []testprog.Options) {
	for _, version := range versions {
		all = append(all, testprog.Options{GoVersion: version, Flags: []string{"-gcflags=all=-N -l"}})
		if testprog.Race(version) {
			all = append(all, testprog.Options{GoVersion: version, Cgo: true, Flags: []string{"-race"}})
		}
	}
	return all
}

// Releases of Go that are supported.
const oldest, newest = "go1.18.10", "go1.27.1"

// A treeTest gets a program, how it was built, and how often it has run with it.
type treeTest func(t *testing.T, exe string, options testprog.Options, run int)

// eachTree runs a test with a program that is built in each way, and then several
// times in a row with one more build.
func eachTree(t *testing.T, source string, often testprog.Options, test treeTest) {
	t.Helper()
	eachOf(t, treeMatrix(), source, test)
	exe := testprog.Build(t, source, often)
	kerneltest.Require(t)
	for run := range inARow() {
		t.Run(fmt.Sprint(run), func(t *testing.T) { test(t, exe, often, run) })
	}
}

// inARow is how often a test runs in a row: 20 times with TEST_ALL=1, but not in an
// emulated machine, where each run takes many seconds.
func inARow() int {
	if os.Getenv("TEST_ALL") == "1" && !testing.Short() {
		return 20
	}
	return 5
}

// eachBuild runs a test with a program of the oldest and the newest release, and of
// that without optimisation; with TEST_ALL=1 in all ways of treeMatrix.
func eachBuild(t *testing.T, source string, test treeTest) {
	t.Helper()
	if os.Getenv("TEST_ALL") == "1" {
		eachOf(t, treeMatrix(), source, test)
		return
	}
	eachOf(t, []testprog.Options{{GoVersion: oldest}, {GoVersion: newest}, {GoVersion: newest, Flags: []string{"-gcflags=all=-N -l"}}}, source, test)
}

// eachOf runs a test with each build: with TEST_ALL=1, 20 times in a row with those of
// the oldest and the newest release.
func eachOf(t *testing.T, builds []testprog.Options, source string, test treeTest) {
	t.Helper()
	for _, options := range builds {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, source, options)
			kerneltest.Require(t)
			times := 1
			if os.Getenv("TEST_ALL") == "1" && !testing.Short() && (options.GoVersion == oldest || options.GoVersion == newest) {
				times = inARow()
			}
			for run := range times {
				if test(t, exe, options, run); t.Failed() {
					t.Fatalf("in run %d", run+1)
				}
			}
		})
	}
}
