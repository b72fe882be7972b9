package plan

import (
	"cmp"
	"debug/elf"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

// A real executable is one that somebody else wrote.
type real struct {
	module  string   // path@version of a main package, with
	version string   // the release of Go that it is built with, and
	flags   []string // how
	cgo     bool
	debian  string // or the name of a Debian package
}

// fetched are executables that are built or downloaded for the test.
var fetched = []real{
	{module: "github.com/go-delve/delve/cmd/dlv@v1.9.1", version: "go1.18.10"},
	{module: "mvdan.cc/sh/v3/cmd/shfmt@v3.6.0", version: "go1.19.13", flags: []string{"-buildmode=pie"}},
	{module: "honnef.co/go/tools/cmd/staticcheck@v0.4.3", version: "go1.20.14", flags: []string{"-ldflags=-s -w"}},
	{module: "github.com/rakyll/hey@v0.1.4", version: "go1.21.13", flags: []string{"-race"}, cgo: true},
	{module: "google.golang.org/protobuf/cmd/protoc-gen-go@v1.34.2", version: "go1.22.12", flags: []string{"-trimpath", "-gcflags=all=-N -l"}},
	{module: "github.com/mikefarah/yq/v4@v4.44.3", version: "go1.23.12", flags: []string{"-buildmode=pie", "-ldflags=-linkmode=external -s -w"}, cgo: true},
	{module: "filippo.io/age/cmd/age@v1.2.0", version: "go1.24.9", flags: []string{"-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-static-pie"}, cgo: true},
	{module: "github.com/junegunn/fzf@v0.60.3", version: "go1.25.5", flags: []string{"-buildmode=pie", "-ldflags=-s -w"}},
	{module: "golang.org/x/vuln/cmd/govulncheck@v1.1.4", version: "go1.26.8"},
	{module: "golang.org/x/tools/cmd/stringer@v0.30.0", version: "go1.27.1"},
	{debian: "age"},
	{debian: "direnv"},
	{debian: "fzf"},
	{debian: "jid"},
	{debian: "micro"},
	{debian: "restic"},
}

// Real executables are planned as their symbol tables and another decoder have
// them: those of Debian's Docker and of the toolchains, for arm64 as they build
// them, the decoder with a part of their functions, and with TEST_ALL=1 with all of
// them, and more that are fetched.
func TestRealExecutables(t *testing.T) {
	all := os.Getenv("TEST_ALL") == "1"
	var paths []string
	for _, name := range []string{"dockerd", "containerd", "containerd-shim-runc-v2", "docker", "runc"} {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		} else if os.Getenv("REQUIRE_BPF") == "1" && os.Getenv("REQUIRE_DOCKER") != "0" {
			t.Errorf("needs %s", name)
		}
	}
	for _, version := range testprog.Versions() {
		// What a test program was built with is here, and its own tools with it.
		testprog.Build(t, "-- go.mod --\nmodule example.com/m\n-- main.go --\npackage main\nfunc main() {}\n", testprog.Options{GoVersion: version})
		paths = append(paths, filepath.Join(toolchain(t, version), "bin", "go"), filepath.Join(toolchain(t, version), "bin", "gofmt"),
			buildTool(t, version, "cmd/gofmt"))
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) { checkReal(t, path, all) })
	}
	if !all {
		return
	}
	for _, r := range fetched {
		t.Run(cmp.Or(r.debian, path.Base(r.module)), func(t *testing.T) {
			for _, path := range r.fetch(t) {
				t.Run(filepath.Base(path), func(t *testing.T) { checkReal(t, path, all) })
			}
		})
	}
	for _, version := range testprog.Versions() {
		t.Run("go for arm64 by "+version, func(t *testing.T) { checkReal(t, buildTool(t, version, "cmd/go"), all) })
	}
}

// buildTool builds a command of a release of Go for arm64 by that release.
func buildTool(t *testing.T, version, tool string) string {
	t.Helper()
	dir := t.TempDir() // without a go.mod
	path := filepath.Join(dir, filepath.Base(tool)+"-arm64-"+version)
	cmd := exec.Command("go", "build", "-o", path, tool)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+version, "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s for arm64 by %s: %v\n%s", tool, version, err, out)
	}
	return path
}

// checkReal plans everything in an executable.
func checkReal(t *testing.T, path string, all bool) {
	f, err := gobin.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Build(f, Rules{Patterns: []string{"*"}, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	if !all {
		step = 1 + len(p.Functions)/1000
	}
	var functions []*Function
	for i := 0; i < len(p.Functions); i += step {
		functions = append(functions, &p.Functions[i])
	}
	symbols := symbolsOf(t, path)
	if symbols != nil {
		compareNames(t, p, symbols)
	}
	for _, fn := range functions {
		if !fn.Assembly && !fn.Restarts() {
			checkFunction(t, f, fn)
		}
	}
	checkSites(t, f, functions)
	t.Logf("%s, %s, PIE %t, offsets from %s: %d functions planned, %d not, %d looked at, %d symbols",
		filepath.Base(path), f.GoVersion, f.PIE, p.Runtime.Source, len(p.Functions), len(p.Skipped), len(functions), len(symbols))
	if len(p.Functions) < 2*len(p.Skipped) { // of a small program most is the runtime, or FIPS 140
		t.Errorf("%d functions are planned, %d are not", len(p.Functions), len(p.Skipped))
	}
}

// compareNames compares a plan for everything with the symbol table: what the plan
// has, or says that it cannot trace, is there by the same name, and what is there
// and not in the plan was made by the compiler, and counted as left out.
func compareNames(t *testing.T, p *Plan, symbols map[uint64][]string) {
	t.Helper()
	withTypes := version.Compare(p.File.GoVersion, "go1.21") >= 0
	// asListed is a symbol as the function table has it: that writes · where the
	// symbol table may have a dot, does not tell ABI0 (assembly, and what C calls),
	// and before Go 1.21 has no type arguments.
	asListed := func(symbol string) string {
		symbol = strings.ReplaceAll(strings.TrimSuffix(symbol, ".abi0"), "·", ".")
		open, shut := strings.IndexByte(symbol, '['), strings.LastIndexByte(symbol, ']')
		if withTypes || open < 0 || shut < open {
			return symbol
		}
		return symbol[:open] + "[...]" + symbol[shut+1:]
	}
	planned := make(map[uint64]bool)
	check := func(fn *gobin.Function) {
		planned[fn.Entry] = true
		name := strings.ReplaceAll(fn.Symbol, "·", ".")
		if !slices.ContainsFunc(symbols[fn.Entry], func(symbol string) bool { return asListed(symbol) == name }) {
			t.Errorf("%s at %#x: the symbol table has %q", fn.Symbol, fn.Entry, symbols[fn.Entry])
		}
	}
	for i := range p.Functions {
		check(&p.Functions[i].Function)
	}
	for i := range p.Skipped {
		check(&p.Skipped[i].Function)
	}
	left, omitted := 0, 0
	for entry, names := range symbols {
		if planned[entry] {
			continue
		}
		left++
		// Wrappers of methods and of calling conventions, and before Go 1.22 those of
		// go and defer statements, are called like what the source declares.
		if fn, ok := p.File.Lookup(entry); !ok || fn.Entry != entry || !fn.Wrapper && !compilerMade.MatchString(names[0]) {
			t.Errorf("%s at %#x is not in the plan", names, entry)
		}
	}
	for _, n := range p.Omitted {
		omitted += n
	}
	if left != omitted {
		t.Errorf("%d functions are not in the plan, and %d are counted as left out", left, omitted)
	}
}

// compilerMade are the names of functions that no source declares.
var compilerMade = regexp.MustCompile(`^type[:.]\.(eq|hash)\.|\.(gowrap|deferwrap)\d+$|-fm$|-range\d+$|\.map\.init\.\d+$`)

// symbolsOf are the functions that the symbol table has in Go's part of the text,
// without the marks that the linker sets there; nil where there is no such table. C
// code that a C linker added lies outside of that part.
func symbolsOf(t *testing.T, path string) map[uint64][]string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil
	}
	var first, last uint64
	symbols := make(map[uint64][]string)
	for _, s := range all {
		switch {
		case s.Name == "runtime.text":
			first = s.Value
		case s.Name == "runtime.etext":
			last = s.Value
		case s.Name == "go:textfipsstart" || s.Name == "go:textfipsend":
		case elf.ST_TYPE(s.Info) == elf.STT_FUNC:
			symbols[s.Value] = append(symbols[s.Value], s.Name)
		}
	}
	maps.DeleteFunc(symbols, func(entry uint64, _ []string) bool { return entry < first || entry >= last })
	return symbols
}

// toolchain is where the go command has a release of Go.
func toolchain(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.Command("go", "env", "GOROOT")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+version)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("where is %s: %v", version, err)
	}
	return strings.TrimSpace(string(out))
}

// fetch builds or downloads an executable, and returns its paths.
func (r real) fetch(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cgo := "0"
		if r.cgo {
			cgo = "1"
		}
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOTOOLCHAIN="+r.version, "CGO_ENABLED="+cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	if r.debian == "" {
		run("go", slices.Concat([]string{"install"}, r.flags, []string{r.module})...)
		found, _ := filepath.Glob(filepath.Join(dir, "*"))
		return found
	}
	run("apt-get", "download", r.debian)
	packages, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	run("dpkg-deb", "-x", packages[0], dir)
	var found []string
	for _, pattern := range []string{"usr/bin/*", "usr/sbin/*"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range paths {
			if f, err := gobin.Open(path); err == nil {
				f.Close()
				found = append(found, path)
			}
		}
	}
	if len(found) == 0 {
		t.Errorf("%s has no Go executable", r.debian)
	}
	return found
}
