package testprog

import (
	"bytes"
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
		tools = append(tools, o.tool("ld.gold"))
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

// cc is the C compiler. For -asan the go command asks it for its version, and takes
// none that does not call itself gcc: one for another machine does where it is
// called so.
func (o Options) cc(t testing.TB) string {
	t.Helper()
	name := o.tool("gcc")
	if !o.Cgo || name == "gcc" || !slices.Contains(o.Flags, "-asan") {
		return name
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	gcc := filepath.Join(t.TempDir(), "gcc")
	if err := os.Symlink(path, gcc); err != nil {
		t.Fatal(err)
	}
	return gcc
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
		"GOOS=linux", "GOARCH="+o.arch(), "CGO_ENABLED="+cgo, "CC="+o.cc(t), "GOEXPERIMENT="+o.Experiment)
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
