package gobin

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

func TestRuntime(t *testing.T) {
	matrix(t, func(t *testing.T, o testprog.Options, f *File) {
		r, err := f.Runtime()
		if err != nil {
			t.Fatal(err)
		}
		goid, _ := goidOffset(f.minor)
		want := Runtime{GoidOffset: goid, StackHiOffset: 8, TLSOffset: -8, Source: "table"}
		if f.Arch == ARM64 {
			want.TLSOffset = 0
		}
		if f.HasDWARF() {
			want.Source = "dwarf"
		}
		if r != want {
			t.Errorf("%+v, want %+v", r, want)
		}
	})
}

// A version that nobody has looked at is refused rather than guessed, unless
// DWARF tells.
func TestRuntimeOfUnknownVersion(t *testing.T) {
	whole := open(t, testprog.Build(t, shapes(t), testprog.Options{}))
	whole.GoVersion, whole.minor = "go1.99.1", 99
	if r, err := whole.Runtime(); err != nil || r.Source != "dwarf" {
		t.Errorf("%+v, %v", r, err)
	}
	bare := open(t, testprog.Build(t, shapes(t), testprog.Options{Flags: []string{"-ldflags=-s -w"}}))
	bare.GoVersion, bare.minor = "go1.99.1", 99
	if _, err := bare.Runtime(); err == nil || !strings.Contains(err.Error(), "go1.99.1") {
		t.Errorf("error %v", err)
	}
}

// A shared library finds g through its global offset table.
func TestRuntimeOfSharedLibrary(t *testing.T) {
	source := strings.Replace(shapes(t), "import (", "import \"C\"\nimport (", 1)
	source = strings.Replace(source, "\nfunc main() {", "\n//export Run\nfunc Run() { main() }\n\nfunc main() {", 1)
	f := open(t, testprog.Build(t, source, testprog.Options{Cgo: true, Flags: []string{"-buildmode=c-shared"}}))
	if _, err := f.Runtime(); err == nil || !strings.Contains(err.Error(), "shared library") {
		t.Errorf("error %v", err)
	}
}

func TestDecodeTLS(t *testing.T) {
	for _, test := range []struct {
		name, code string
		want       int64
		err        string
	}{
		{"direct", "644c8b3425f8ffffff", -8, ""},
		{"direct, other offset", "4883ec10 644c8b3425f0ffffff", -16, ""},
		{"two instructions", "49c7c6f8ffffff 644d8b36", -8, ""},
		{"two instructions, displacement", "48c7c1f0ffffff 64488b4908", -8, ""},
		{"global offset table", "4c8b3500100000 644d8b36", 0, "shared library"},
		{"another register", "48c7c1f8ffffff 644d8b36", 0, "no load through FS"},
		{"indexed", "64488b0408", 0, "no load through FS"},
		{"none", "55 4889e5 c3", 0, "no load through FS"},
		{"broken", "06", 0, "no load through FS"},
		{"empty", "", 0, "no load through FS"},
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(test.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeTLS(code)
		if test.err == "" && (err != nil || got != test.want) {
			t.Errorf("%s: %d, %v, want %d", test.name, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %d, %v, want an error with %q", test.name, got, err, test.err)
		}
	}
}

// Every minor version that is supported is in all tables, and no other.
func TestTablesOfVersions(t *testing.T) {
	var goid, etypes []int
	for minor := range 60 {
		if _, ok := goidOffset(minor); ok {
			goid = append(goid, minor)
		}
		if _, _, ok := moduleTypes(minor); ok {
			etypes = append(etypes, minor)
		}
	}
	want := []int{18, 19, 20, 21, 22, 23, 24, 25, 26, 27}
	if !slices.Equal(goid, want) || !slices.Equal(etypes, want) || want[0] != minMinor {
		t.Errorf("goid of %d, etypes of %d, want %d", goid, etypes, want)
	}
}
