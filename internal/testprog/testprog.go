// Package testprog builds the programs that tests read and trace, with any
// release of Go and any flags, and keeps the executables for the next run.
package testprog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"
)

// A file is one source file.
type file struct {
	name string
	data []byte
}

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
		)
		if !Sanitizers() {
			continue
		}
		all = append(all,
			Options{GoVersion: version, Cgo: true, Flags: []string{"-tags=thread", "-ldflags=-extldflags=-fuse-ld=gold"}, NoHeaders: true},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-race"}},
			Options{GoVersion: version, Cgo: true, Flags: []string{"-asan"}},
		)
	}
	return all
}

// Sanitizers says whether programs can be built that need the libraries of a C compiler
// for the machine: one for another machine lacks them.
func Sanitizers() bool { return (Options{}).arch() == "amd64" }

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

// Build builds a main package and returns the path of the executable, which is
// kept in the user's cache directory under a hash of the sources and the
// options. source is a directory, or the text of a txtar archive. The test is
// skipped where that release of Go cannot be had.
func Build(t testing.TB, source string, o Options) string {
	t.Helper()
	files, isArchive := archive(source), true
	dir := ""
	if files == nil {
		isArchive, dir = false, source
		files = readDir(t, source)
	}
	cache := cacheDir()
	path := filepath.Join(cache, key(files, o))
	if _, err := os.Stat(path); err == nil {
		noteBuilt(t, path, o)
		return path
	}
	require(t, o)
	if isArchive {
		// All builds of one source have the same paths in them.
		dir = filepath.Join(cache, "source-"+key(files, Options{GoVersion: "any"}))
		unpack(t, files, dir)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatalf("build a test program: %v", err)
	}
	built := filepath.Join(t.TempDir(), "program")
	run(t, o, dir, append(append([]string{"go", "build", "-o", built}, o.Flags...), "."))
	if o.Strip {
		run(t, o, dir, []string{o.tool("strip"), built})
	}
	if o.DebugFile {
		separate(t, o, built, debugFile(path))
	}
	if o.NoHeaders {
		removeHeaders(t, built)
	}
	keep(t, built, path)
	noteBuilt(t, path, o)
	return path
}

// debugFile is the path of the debug file of an executable.
func debugFile(path string) string { return path + ".debug" }

// separate moves DWARF and symbols of an executable into a file, and leaves its name.
func separate(t testing.TB, o Options, built, file string) {
	t.Helper()
	separated := filepath.Join(filepath.Dir(built), filepath.Base(file))
	for _, args := range [][]string{
		{o.tool("objcopy"), "--only-keep-debug", built, separated},
		{o.tool("strip"), built},
		{o.tool("objcopy"), "--add-gnu-debuglink=" + separated, built},
	} {
		run(t, o, "", args)
	}
	keep(t, separated, file)
}

// noteBuilt takes note of what Build made.
func noteBuilt(t testing.TB, path string, o Options) {
	t.Helper()
	note(t, path)
	if o.DebugFile {
		note(t, debugFile(path))
	}
}

// Command builds a main package of this module, anew each time, and returns the
// path of the executable. dir is its directory.
func Command(t testing.TB, dir string) string {
	t.Helper()
	o := Options{}
	whole, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cacheDir(), key([]file{{name: whole}}, o))
	if _, err := os.Stat(path); err != nil || os.Getenv("TESTPROG_PACKED") == "" {
		require(t, o)
		built := filepath.Join(t.TempDir(), filepath.Base(whole))
		run(t, o, dir, []string{"go", "build", "-o", built, "."})
		keep(t, built, path)
	}
	note(t, path)
	return path
}

func cacheDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "uspan-test")
}

// Copy copies an executable, so that a test has it for itself: others may run, and
// trace, the one in the cache at the same time.
func Copy(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("copy a test program: %v", err)
	}
	path = filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatalf("copy a test program: %v", err)
	}
	return path
}

// note takes note of a program in the file that TESTPROG_LIST names: of those
// that a test needs in a machine where nothing can be built.
func note(t testing.TB, path string) {
	t.Helper()
	list := os.Getenv("TESTPROG_LIST")
	if list == "" {
		return
	}
	file, err := os.OpenFile(list, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("take note of a test program: %v", err)
	}
	defer file.Close()
	if _, err := fmt.Fprintln(file, path); err != nil {
		t.Fatalf("take note of a test program: %v", err)
	}
}

// archive reads a txtar archive (golang.org/x/tools/txtar): files, each below a
// line `-- name --`. It returns nil where the text is none.
func archive(source string) []file {
	var files []file
	for line := range strings.Lines(source) {
		name, begins := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if name, ends := strings.CutSuffix(name, " --"); begins && ends {
			files = append(files, file{name: strings.TrimSpace(name)})
		} else if len(files) > 0 {
			last := &files[len(files)-1]
			last.data = append(last.data, line...)
		}
	}
	return files
}

// readDir reads the files below a directory that can matter to a build.
func readDir(t testing.TB, dir string) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, file{path, data})
		return err
	})
	if err != nil {
		t.Fatalf("build a test program: %v", err)
	}
	return files
}

func unpack(t testing.TB, files []file, dir string) {
	t.Helper()
	for _, file := range files {
		path := filepath.Join(dir, filepath.FromSlash(file.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatalf("build a test program: %v", err)
		}
		if err := os.WriteFile(path, file.data, 0o644); err != nil {
			t.Fatalf("build a test program: %v", err)
		}
	}
}

func key(files []file, o Options) string {
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %t %t %q\n", o.version(), o.Flags, o.Cgo, o.Strip, o.arch())
	if o.NoHeaders || o.Experiment != "" { // what was built before they were there has its name still
		fmt.Fprintf(h, "%t %q\n", o.NoHeaders, o.Experiment)
	}
	if o.DebugFile {
		fmt.Fprintln(h, "debug file")
	}
	for _, file := range files {
		fmt.Fprintf(h, "%s %d\n", file.name, len(file.data))
		h.Write(file.data)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// require skips the test where a tool is missing.
func require(t testing.TB, o Options) {
	t.Helper()
	if os.Getenv("TESTPROG_PACKED") != "" {
		skip(t, "this program is not in the machine: a test has to build its programs before it calls kerneltest.Require")
	}
	var tools []string
	if o.Cgo {
		tools = append(tools, o.tool("gcc"))
	}
	if o.Strip || o.DebugFile {
		tools = append(tools, o.tool("strip"))
	}
	if o.DebugFile {
		tools = append(tools, o.tool("objcopy"))
	}
	if strings.Contains(strings.Join(o.Flags, " "), "-fuse-ld=gold") {
		tools = append(tools, "ld.gold")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			skip(t, "no %s here", tool)
		}
	}
}

// tool is the name of a tool of GNU's that makes programs for the architecture.
func (o Options) tool(name string) string {
	switch {
	case o.arch() == runtime.GOARCH:
		return name
	case o.arch() == "arm64":
		return "aarch64-linux-gnu-" + name
	case o.arch() == "amd64":
		return "x86_64-linux-gnu-" + name
	}
	return o.arch() + "-linux-gnu-" + name
}

// skip skips a test, or fails it where the machine is meant to have everything.
func skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("REQUIRE_BPF") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func run(t testing.TB, o Options, dir string, args []string) {
	t.Helper()
	cgo := "0"
	if o.Cgo {
		cgo = "1"
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	flags := "-buildvcs=false"
	if o.version() < "go1.18" {
		flags = "-mod=mod"
	}
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+o.version(), "GOFLAGS="+flags, "GOWORK=off",
		"GOOS=linux", "GOARCH="+o.arch(), "CGO_ENABLED="+cgo, "CC="+o.tool("gcc"), "GOEXPERIMENT="+o.Experiment)
	output, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	if bytes.Contains(output, []byte("download go1.")) {
		skip(t, "%s cannot be had: %s", o.version(), output)
	}
	t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output)
}

// keep moves an executable into the cache, in one step for those who look.
func keep(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatalf("build a test program: %v", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(to), "new-*")
	if err != nil {
		t.Fatalf("build a test program: %v", err)
	}
	_, err = temporary.Write(data)
	for _, next := range []func() error{
		func() error { return temporary.Chmod(0o755) },
		temporary.Close,
		func() error { return os.Rename(temporary.Name(), to) },
	} {
		if err == nil {
			err = next()
		}
	}
	if err != nil {
		os.Remove(temporary.Name())
		t.Fatalf("build a test program: %v", err)
	}
}
