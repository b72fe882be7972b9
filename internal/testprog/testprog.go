// Package testprog builds the programs that tests read and trace, with any
// release of Go and any flags, and keeps the executables for the next run.
package testprog

import (
	"cmp"
	"go/version"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// Options say how a program is built. The zero value is a plain `go build` with
// the toolchain that runs the tests, without cgo.
type Options struct {
	// GoVersion is a release such as "go1.21.13", which the go command fetches
	// where it is not there; empty for the one that runs the tests.
	GoVersion string
	// Flags are given to `go build`.
	Flags []string
	// Cgo enables cgo. The test is skipped where there is no C compiler.
	Cgo bool
	// Strip runs strip(1). The test is skipped where there is none.
	Strip bool
	// DebugFile puts DWARF and symbols into a file beside the executable, which names
	// it. The test is skipped where there is no objcopy(1) or strip(1).
	DebugFile bool
	// NoHeaders takes all section headers and what no segment holds away, as
	// sstrip(1) does.
	NoHeaders bool
	// Experiment is the GOEXPERIMENT that the program and its runtime have.
	Experiment string
	// GOARCH is the architecture; empty for that of the machine that runs the tests.
	GOARCH string
}

// arch is the architecture of the program. TESTPROG_GOARCH is that of the
// machine for which programs are built where tests are not run here.
func (o Options) arch() string {
	return cmp.Or(o.GOARCH, os.Getenv("TESTPROG_GOARCH"), runtime.GOARCH)
}

// String names the options for the name of a subtest.
func (o Options) String() string {
	parts := slices.Clone(o.Flags)
	if o.Cgo {
		parts = append(parts, "cgo")
	}
	if o.Strip {
		parts = append(parts, "strip")
	}
	if o.DebugFile {
		parts = append(parts, "stripped with a debug file")
	}
	if o.NoHeaders {
		parts = append(parts, "sstrip")
	}
	if o.Experiment != "" {
		parts = append(parts, "X:"+o.Experiment)
	}
	if o.GOARCH != "" {
		parts = append(parts, o.GOARCH)
	}
	if len(parts) == 0 {
		parts = []string{"default"}
	}
	return o.version() + " " + strings.Join(parts, " ")
}

func (o Options) version() string {
	if o.GoVersion == "" {
		return runtime.Version()
	}
	return o.GoVersion
}

// DWARF says whether the executable itself has DWARF.
func (o Options) DWARF() bool {
	return !o.Strip && !o.DebugFile && !o.NoHeaders && !slices.Contains(o.Flags, "-ldflags=-s -w")
}

// Versions are the releases of Go that tests go over: the oldest supported, the
// oldest with frames as they are now, that which runs the tests, and the newest;
// all minor versions with TEST_ALL=1.
func Versions() []string {
	versions := []string{"go1.18.10", "go1.21.13", runtime.Version(), "go1.27.1"}
	if os.Getenv("TEST_ALL") == "1" {
		versions = append(versions, "go1.19.13", "go1.20.14", "go1.21.0", "go1.22.0", "go1.22.12", "go1.23.0", "go1.23.12",
			"go1.24.0", "go1.24.9", "go1.25.0", "go1.25.5", "go1.26.0", "go1.26.8", "go1.27.0")
	}
	slices.Sort(versions)
	return slices.Compact(versions)
}

// Matrix is every version of Versions with every way to build that changes what
// a reader of executables sees. Those that cost the most to build are left
// to the oldest version and that which runs the tests, unless TEST_ALL=1.
func Matrix() []Options {
	const external, static = "-ldflags=-linkmode=external", "-ldflags=-linkmode=external -extldflags=-static-pie"
	pie := []string{"-buildmode=pie"}
	var all []Options
	for _, version := range Versions() {
		all = append(all,
			Options{GoVersion: version},
			Options{GoVersion: version, Flags: []string{"-ldflags=-s -w"}},
			Options{GoVersion: version, Strip: true},
			Options{GoVersion: version, NoHeaders: true},
			Options{GoVersion: version, Flags: []string{"-trimpath"}},
			Options{GoVersion: version, Flags: pie},
			Options{GoVersion: version, Flags: pie, Strip: true},
			Options{GoVersion: version, Flags: []string{"-gcflags=all=-N -l"}},
			Options{GoVersion: version, Cgo: true},
			Options{GoVersion: version, Cgo: true, Flags: []string{external}},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-tags=thread"}},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=pie", external}},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=pie", external}, Strip: true},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=pie", static}, Strip: true},
		)
		if os.Getenv("TEST_ALL") != "1" && version != runtime.Version() && version != "go1.18.10" {
			continue
		}
		all = append(all,
			Options{GoVersion: version, Flags: pie, NoHeaders: true},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-tags=thread"}, Strip: true},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=pie", static}},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-tags=thread", "-ldflags=-extldflags=-fuse-ld=gold"}, NoHeaders: true},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-asan"}},
		)
		if Race(version) {
			all = append(all, Options{GoVersion: version, Cgo: true, Flags: []string{"-race"}})
		}
	}
	return all
}

// Race says whether a release of Go can build programs with -race: before Go 1.21
// it has the library of the race detector for the machine alone that it is for,
// which is amd64 here.
func Race(goVersion string) bool {
	return version.Compare(goVersion, "go1.21") >= 0 || (Options{}).arch() == "amd64"
}

// Minors are, with TEST_MINORS=1, two builds of each minor version that Matrix leaves out.
func Minors() (all []Options) {
	if os.Getenv("TEST_MINORS") != "1" || os.Getenv("TEST_ALL") == "1" {
		return nil
	}
	for _, version := range []string{"go1.19.13", "go1.20.14", "go1.22.12", "go1.23.12", "go1.24.9", "go1.25.5"} {
		all = append(all, Options{GoVersion: version}, Options{GoVersion: version, Flags: []string{"-buildmode=pie"}, Strip: true})
	}
	return all
}

// MatrixARM64 is Matrix for arm64. Those of the ways that need a C compiler and
// strip(1) for it are left out where this machine has none.
func MatrixARM64() []Options {
	var all []Options
	for _, version := range Versions() {
		for _, flags := range [][]string{nil, {"-ldflags=-s -w"}, {"-buildmode=pie"}, {"-gcflags=all=-N -l"}} {
			all = append(all, Options{GoVersion: version, GOARCH: "arm64", Flags: flags})
		}
		pie := Options{GoVersion: version, GOARCH: "arm64", Cgo: true, Flags: []string{"-buildmode=pie", "-ldflags=-linkmode=external"}}
		if _, err := exec.LookPath(pie.tool("gcc")); err == nil {
			stripped := pie
			stripped.Strip = true
			all = append(all, Options{GoVersion: version, GOARCH: "arm64", Cgo: true}, pie, stripped)
		}
	}
	return all
}

// Experiments are builds with a GOEXPERIMENT that changes the runtime: one with
// the release that runs the tests, and more with TEST_ALL=1.
func Experiments() []Options {
	all := []Options{{GoVersion: "go1.26.8", Experiment: "nogreenteagc,runtimesecret"}}
	if os.Getenv("TEST_ALL") == "1" {
		all = append(all,
			Options{GoVersion: "go1.21.13", Experiment: "arenas,staticlockranking"},
			Options{GoVersion: "go1.22.12", Experiment: "rangefunc,loopvar"},
			Options{GoVersion: "go1.24.9", Experiment: "noswissmap,nospinbitmutex,noaliastypeparams"},
			Options{GoVersion: "go1.25.5", Experiment: "greenteagc,jsonv2"},
			Options{GoVersion: "go1.26.8", Experiment: "goroutineleakprofile,staticlockranking"},
			Options{GoVersion: "go1.27.1", Experiment: "nogreenteagc,runtimesecret,runtimefreegc"},
		)
	}
	return all
}

// C are files to be added to the archive of a main package: with them, a build
// with cgo has C code, linked by the Go linker, or with the tag `thread`, by a C
// linker, and then with thread-local variables of C's, which put g's elsewhere.
const C = `
-- user.go --
//go:build cgo && !thread

package main

import _ "os/user"
-- thread.go --
//go:build cgo && thread

package main

// static __thread char mine[40] __attribute__((aligned(64))) = "thread";
// static int touch(int n) { mine[n] = n; return mine[0]; }
import "C"

func init() { C.touch(7) }
`
