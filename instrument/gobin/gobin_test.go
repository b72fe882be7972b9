package gobin

import (
	"cmp"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// shapes is the source of the program that most tests read.
func shapes(t testing.TB) string {
	t.Helper()
	source, err := os.ReadFile("testdata/shapes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return string(source) + testprog.C
}

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func find(t testing.TB, f *File, symbol string) *Function {
	t.Helper()
	for i := range f.Functions() {
		if fn := &f.Functions()[i]; fn.Symbol == symbol {
			return fn
		}
	}
	t.Fatalf("no function %s", symbol)
	return nil
}

// goCommand is the largest Go executable that every machine has.
func goCommand(t testing.TB) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(root)), "bin", "go")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// largeARM64 is a large executable for arm64: uspan itself.
func largeARM64(t testing.TB) string {
	t.Helper()
	return testprog.Build(t, "../../cmd/uspan", testprog.Options{GOARCH: "arm64"})
}

// matrix runs a test for every way to build the program of shapes.
func matrix(t *testing.T, test func(t *testing.T, o testprog.Options, f *File)) {
	source := shapes(t)
	for _, o := range append(testprog.Matrix(), testprog.MatrixARM64()...) {
		t.Run(o.String(), func(t *testing.T) {
			test(t, o, open(t, testprog.Build(t, source, o)))
		})
	}
}

// The symbol table of an executable that was not stripped knows every function
// that the function table lists.
func TestFunctionsAreThoseOfTheSymbolTable(t *testing.T) {
	matrix(t, func(t *testing.T, _ testprog.Options, f *File) { compareSymbols(t, f) })
	t.Run("go", func(t *testing.T) { compareSymbols(t, open(t, goCommand(t))) })
	t.Run("arm64", func(t *testing.T) { compareSymbols(t, open(t, largeARM64(t))) })
}

func compareSymbols(t *testing.T, f *File) {
	checkOrder(t, f)
	symbols, err := f.elf.Symbols()
	if err != nil {
		return // stripped: compared with the unstripped below
	}
	names, first, last := map[uint64][]string{}, ^uint64(0), uint64(0)
	for _, s := range symbols {
		switch {
		case s.Name == "runtime.text":
			first = s.Value
		case s.Name == "runtime.etext":
			last = s.Value
		case elf.ST_TYPE(s.Info) == elf.STT_FUNC:
			names[s.Value] = append(names[s.Value], s.Name)
		}
	}
	listed := map[uint64]bool{}
	for _, fn := range f.Functions() {
		listed[fn.Entry] = true
		// The symbol table writes `.` for `·` and tells ABIs apart.
		want := strings.ReplaceAll(fn.Symbol, "·", ".")
		if got := names[fn.Entry]; !slices.ContainsFunc(got, func(name string) bool {
			name = strings.ReplaceAll(name, "·", ".")
			if f.minor < 21 { // the function table has no type arguments
				if open, shut := strings.IndexByte(name, '['), strings.LastIndexByte(name, ']'); open >= 0 && shut > open {
					name = name[:open] + "[...]" + name[shut+1:]
				}
			}
			return name == want || name == want+".abi0" || name == want+".abiinternal"
		}) {
			t.Errorf("%s at %#x: the symbol table has %q", fn.Symbol, fn.Entry, got)
		}
	}
	for addr, name := range names {
		if addr >= first && addr < last && !listed[addr] && !strings.HasPrefix(name[0], "go:textfips") {
			t.Errorf("%s at %#x is not listed", name, addr)
		}
	}
}

func checkOrder(t *testing.T, f *File) {
	t.Helper()
	end := uint64(0)
	for i := range f.Functions() {
		fn := &f.Functions()[i]
		if fn.Entry >= fn.End || fn.Entry < end {
			t.Errorf("%s from %#x to %#x, behind %#x", fn.Symbol, fn.Entry, fn.End, end)
		}
		end = fn.End
		for _, addr := range []uint64{fn.Entry, fn.End - 1} {
			if got, ok := f.Lookup(addr); !ok || got != fn {
				t.Errorf("lookup %#x: %v, want %s", addr, got, fn.Symbol)
			}
		}
	}
	if _, ok := f.Lookup(end); ok {
		t.Errorf("lookup %#x finds a function behind the last one", end)
	}
	if _, ok := f.Lookup(0); ok {
		t.Error("lookup 0 finds a function")
	}
}

// What strip(1) and the linker take away matters neither to functions nor to
// their code and lines.
func TestStrippedReadsTheSame(t *testing.T) {
	source := shapes(t)
	for _, version := range testprog.Versions() {
		for _, whole := range []testprog.Options{
			{GoVersion: version},
			{GoVersion: version, Flags: []string{"-buildmode=pie"}},
			{GoVersion: version, GOARCH: "arm64"},
		} {
			t.Run(whole.String(), func(t *testing.T) {
				stripped := whole
				if stripped.Strip = whole.GOARCH == ""; !stripped.Strip { // strip(1) knows one architecture
					stripped.Flags = []string{"-ldflags=-s -w"}
				}
				f, g := open(t, testprog.Build(t, source, whole)), open(t, testprog.Build(t, source, stripped))
				if !f.HasDWARF() || g.HasDWARF() {
					t.Fatalf("DWARF: %t, stripped %t", f.HasDWARF(), g.HasDWARF())
				}
				if !slices.Equal(f.Functions(), g.Functions()) {
					t.Error("the functions differ")
				}
				for i := range f.Functions() {
					fn := &f.Functions()[i]
					file, line := f.Line(fn)
					if file2, line2 := g.Line(fn); file != file2 || line != line2 {
						t.Errorf("%s: %s:%d, stripped %s:%d", fn.Symbol, file, line, file2, line2)
					}
				}
				with, err := f.Runtime()
				if err != nil {
					t.Fatal(err)
				}
				without, err := g.Runtime()
				if err != nil {
					t.Fatal(err)
				}
				if with.Source != FromDWARF || without.Source != FromCode {
					t.Errorf("sources %q, %q", with.Source, without.Source)
				}
				if g.Arch == ARM64 { // its place is known by the symbol alone
					with.Goidgen = without.Goidgen
				}
				if with.Source = without.Source; !reflect.DeepEqual(with, without) {
					t.Errorf("runtime %+v, stripped %+v", with, without)
				}
			})
		}
	}
}

func TestFileFacts(t *testing.T) {
	matrix(t, func(t *testing.T, o testprog.Options, f *File) {
		if f.Arch != Arch(cmp.Or(o.GOARCH, runtime.GOARCH)) || f.GoVersion != o.GoVersion || f.BuildID == "" {
			t.Errorf("%s, %s, build ID %q", f.Arch, f.GoVersion, f.BuildID)
		}
		if f.Info.Main.Path != "example.com/shapes.v2/app" {
			t.Errorf("main module %q", f.Info.Main.Path)
		}
		if pie := slices.Contains(o.Flags, "-buildmode=pie"); f.PIE != pie {
			t.Errorf("PIE %t", f.PIE)
		}
		if f.HasDWARF() != o.DWARF() {
			t.Errorf("DWARF %t", f.HasDWARF())
		}
		main := find(t, f, "main.main")
		offset, ok := f.Offset(main.Entry)
		if !ok || !f.ReadOnly(main.Entry) {
			t.Fatalf("main.main at %#x: offset %#x, %t", main.Entry, offset, ok)
		}
		fromFile, fromAddr := make([]byte, 16), make([]byte, 16)
		if err := f.readOffset(fromFile, offset); err != nil {
			t.Fatal(err)
		}
		if err := f.ReadAddr(fromAddr, main.Entry); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(fromFile, fromAddr) {
			t.Errorf("main.main at %#x: %x, at its offset %x", main.Entry, fromAddr, fromFile)
		}
		if offset, ok := f.Offset(1 << 60); ok {
			t.Errorf("an address far away is in the file, at %#x", offset)
		}
		if err := f.ReadAddr(fromAddr, 1<<60); err == nil {
			t.Error("an address far away is in the file")
		}
	})
}

// The functions of the FIPS 140 module are those between the linker's marks.
func TestFIPS(t *testing.T) {
	t.Run("go", func(t *testing.T) { compareFIPS(t, open(t, goCommand(t))) })
	t.Run("arm64", func(t *testing.T) { compareFIPS(t, open(t, largeARM64(t))) })
}

func compareFIPS(t *testing.T, f *File) {
	symbols, err := f.elf.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var text span
	for _, s := range symbols {
		switch s.Name {
		case "go:textfipsstart":
			text.start = s.Value
		case "go:textfipsend":
			text.end = s.Value
		}
	}
	if text.size() == 0 {
		t.Fatal("no FIPS 140 module")
	}
	count := 0
	for _, fn := range f.Functions() {
		if fn.FIPS != text.contains(fn.Entry) {
			t.Errorf("%s at %#x: FIPS %t, the hashed text is %#x", fn.Symbol, fn.Entry, fn.FIPS, text)
		}
		if fn.FIPS {
			count++
		}
	}
	if count < 100 {
		t.Errorf("%d functions", count)
	}
}

func TestFlagsOfFunctions(t *testing.T) {
	matrix(t, func(t *testing.T, o testprog.Options, f *File) {
		for symbol, want := range map[string]Function{
			"main.main":                          {},
			"runtime.memmove":                    {Assembly: true},
			"gogo":                               {Assembly: true, SPWrite: true},
			"main.(*Service).NoReceiverName":     {Wrapper: true},
			"runtime.(*itabTableType).add":       {},
			"main.(*List[go.shape.string]).Push": {},
		} {
			if f.minor < 21 && strings.Contains(symbol, "[") {
				symbol = "main.(*List[...]).Push"
			}
			i := slices.IndexFunc(f.Functions(), func(fn Function) bool { return fn.Symbol == symbol })
			if i < 0 {
				if !want.Wrapper { // which the linker drops where nothing needs it
					t.Errorf("no %s", symbol)
				}
				continue
			}
			got := f.Functions()[i]
			if got.Assembly != want.Assembly || got.SPWrite != want.SPWrite || got.Wrapper != want.Wrapper || got.C {
				t.Errorf("%s: %+v", symbol, got)
			}
		}
		c, internal := 0, !slices.Contains(o.Flags, "-ldflags=-linkmode=external")
		for _, fn := range f.Functions() {
			if fn.C {
				c++
			}
		}
		if c > 0 && (!o.Cgo || !internal) {
			t.Errorf("%d functions are C", c)
		}
	})
}
