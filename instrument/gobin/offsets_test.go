package gobin

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// DWARF, the code and the table tell the same of every release, however a
// program is built.
func TestThreeWaysAgree(t *testing.T) {
	matrix(t, func(t *testing.T, _ testprog.Options, f *File) {
		table, ok := f.offsetsFromTable()
		if !ok {
			t.Error("the table does not know it")
		}
		if code, err := f.offsetsFromCode(); err != nil || code != table {
			t.Errorf("code %v, %v\ntable %v", code, err, table)
		}
		if table.Goid == 0 || table.M == 0 || table.Panic == 0 || table.Gopc == 0 || table.Startpc == 0 || table.Curg == 0 ||
			(table.ParentGoid != 0) != (f.minor >= 21) || (table.PanicSP != 0) != (f.minor >= 22) || (table.Sigcode0 != 0) != (f.minor < 22) ||
			!table.Panics() || !table.GoStatements() {
			t.Errorf("%v is not all there is", table)
		}
		if !f.HasDWARF() {
			return
		}
		if described, err := f.offsetsFromDWARF(); err != nil || described != table {
			t.Errorf("DWARF %v, %v\ntable %v", described, err, table)
		}
	})
}

// A change is made to a stripped program for each architecture; nil is none.
type change struct{ amd64, arm64 func(*File, []byte) }

// bareFiles runs a test with a stripped program for each architecture, which has
// been changed.
func bareFiles(t *testing.T, name string, c change, test func(t *testing.T, f *File)) {
	t.Run(name, func(t *testing.T) { test(t, bareFile(t, "amd64", c.amd64)) })
	t.Run(name+" arm64", func(t *testing.T) { test(t, bareFile(t, "arm64", c.arm64)) })
}

// loadWord is MOVD offset(base), into.
func loadWord(into, base uint32, offset uint64) uint32 {
	return 0xf9400000 | uint32(offset)/8<<10 | base<<5 | into
}

// What a panic or a `go` statement needs and nothing else is unknown where the code
// of an unknown release is not as it always was; the rest is known all the same.
func TestOffsetsOfDetails(t *testing.T) {
	disp := func(n uint64) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
	known := offsetsTable[26]
	const (
		jne, je = 0x75, 0x74
		jneFar  = 0x85
	)
	// CMPQ 8(CX or DX), BX; JNE
	sameFrame := []byte{0x48, 0x39, 0x5a, 0x08, jne}
	// TESTQ BX, BX; JEQ rel32
	noProcessor := []byte{0x48, 0x85, 0xdb, 0x0f, 0x84}
	// CMPQ goidcacheend(R8), R10; JNE
	noStock := append([]byte{0x4d, 0x39, 0x90}, disp(known.GoidCache+8)...)
	const (
		compareFrames = 0xeb03009f // CMP R3, R4
		bne, beq      = 0x54000081, 0x54000080
		cbz, cbnz     = 0xb4000721, 0xb5000721 // of R1
		compareStock  = 0xeb08013f             // CMP R8, R9
	)
	for _, test := range []struct {
		name     string
		change   change
		panics   bool
		creation bool
	}{
		{"nothing", change{}, true, true},
		{"another comparison of frames", change{
			replace(t, "runtime.(*_panic).nextDefer", sameFrame, []byte{0x48, 0x39, 0x5a, 0x08, je}),
			replace(t, "runtime.(*_panic).nextDefer", words(compareFrames, bne), words(compareFrames, beq)),
		}, false, true},
		{"another field of a deferred function", change{
			replace(t, "runtime.(*_panic).nextDefer", sameFrame, []byte{0x48, 0x39, 0x5a, 0x08, 0x90}),
			replace(t, "runtime.(*_panic).nextDefer", words(loadWord(3, 2, 8)), words(loadWord(3, 5, 8))),
		}, false, true},
		{"a processor that may be nil", change{
			replace(t, "runtime.releasepNoTrace", noProcessor, []byte{0x48, 0x85, 0xdb, 0x0f, jneFar}),
			replace(t, "runtime.releasepNoTrace", words(cbz), words(cbnz)),
		}, true, false},
		{"a stock that ends elsewhere", change{
			replace(t, "runtime.newproc1", noStock, append([]byte{0x4d, 0x39, 0x90}, disp(known.GoidCache+16)...)),
			replace(t, "runtime.newproc1", words(compareStock), words(compareStock&^0x1f0000)),
		}, true, false},
	} {
		bareFiles(t, test.name, test.change, func(t *testing.T, f *File) {
			tabled, source, err := f.readOffsets()
			if err != nil || source != FromCode || tabled != known {
				t.Errorf("of a known release %v from %s, %v", tabled, source, err)
			}
			f.GoVersion, f.minor = "go1.99.1", 99
			got, source, err := f.readOffsets()
			if err != nil || source != FromCode {
				t.Fatalf("%v from %s, %v", got, source, err)
			}
			if got.Panics() != test.panics || got.GoStatements() != test.creation {
				t.Errorf("panics %t, `go` statements %t", got.Panics(), got.GoStatements())
			}
			if got.add(known); got != known {
				t.Errorf("%v, want %v", got, known)
			}
		})
	}
}

// An experiment may change the runtime's structs: the table is not asked.
func TestOffsetsOfExperiments(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, o := range testprog.Experiments() {
			o.GOARCH = arch
			t.Run(o.String(), func(t *testing.T) {
				whole := open(t, testprog.Build(t, shapes(t), o))
				o.Flags = []string{"-ldflags=-s -w"}
				bare := open(t, testprog.Build(t, shapes(t), o))
				if !strings.Contains(bare.GoVersion, "X:") {
					t.Errorf("version %q", bare.GoVersion)
				}
				if listed, ok := bare.offsetsFromTable(); ok {
					t.Errorf("the table has %v", listed)
				}
				want, err := whole.Runtime()
				if err != nil || want.Source != FromDWARF {
					t.Fatalf("%+v, %v", want, err)
				}
				got, err := bare.Runtime()
				if err != nil || got.Source != FromCode || got.Offsets != want.Offsets {
					t.Errorf("%+v, %v, want %+v", got, err, want)
				}
			})
		}
	}
}

// bareFile is a stripped program whose code a test may change.
func bareFile(t *testing.T, arch string, change func(f *File, data []byte)) *File {
	t.Helper()
	path := testprog.Build(t, shapes(t), testprog.Options{GOARCH: arch, Flags: []string{"-ldflags=-s -w"}})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFile(bytes.NewReader(data), path)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(f, data)
	}
	return f
}

// replace changes bytes in the code of a function that are there once.
func replace(t *testing.T, symbol string, from, to []byte) func(*File, []byte) {
	return func(f *File, data []byte) {
		fn := find(t, f, symbol)
		offset, _ := f.Offset(fn.Entry)
		code := data[offset : offset+fn.End-fn.Entry]
		if bytes.Count(code, from) != 1 || len(from) != len(to) {
			t.Fatalf("%s: % x has not % x once", symbol, code, from)
		}
		copy(code[bytes.Index(code, from):], to)
	}
}

// A release that nobody has looked at is read by its DWARF, else by its code
// where that is as it always was, and else refused: nothing is guessed.
func TestOffsetsOfUnknownReleases(t *testing.T) {
	word := func(n uint64) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
	known := offsetsTable[26]
	const unknown = "go1.99.1"
	const compareARM64 = 0xf10004bf // CMP $1, R5
	compared := change{
		replace(t, "runtime.printcreatedby", append(word(known.Goid), 1), append(word(known.Goid), 2)),
		replace(t, "runtime.printcreatedby", words(compareARM64), words(compareARM64+1<<10)),
	}
	goid := change{
		replace(t, "runtime.printcreatedby", word(known.Goid), word(known.Goid+0x40)),
		replace(t, "runtime.printcreatedby", words(loadWord(5, 4, known.Goid)), words(loadWord(5, 4, known.Goid+0x40))),
	}
	gopc := change{
		replace(t, "runtime.printcreatedby", word(known.Gopc), word(known.Gopc+8)),
		replace(t, "runtime.printcreatedby", words(loadWord(0, 0, known.Gopc)), words(loadWord(0, 0, known.Gopc+8))),
	}
	startpc := change{
		replace(t, "runtime.isSystemGoroutine", word(known.Startpc), word(known.Startpc+8)),
		replace(t, "runtime.isSystemGoroutine", words(loadWord(0, 0, known.Startpc)), words(loadWord(0, 0, known.Startpc+8))),
	}
	for _, test := range []struct {
		name    string
		version string
		change  change
		source  Source
		err     string
	}{
		{"as it is", unknown, change{}, FromCode, ""},
		{"another comparison", unknown, compared, "", unknown},
		{"another goid", unknown, goid, "", unknown},
		{"another gopc", unknown, gopc, "", unknown},
		{"another startpc", unknown, startpc, "", unknown},
		{"a known release with another comparison", "go1.26.8", compared, FromTable, ""},
		{"a release candidate with another comparison", "go1.26rc1", compared, "", "go1.26rc1"},
		{"a release with other structs", "go1.23.4", change{}, "", "g.goid 152"},
	} {
		bareFiles(t, test.name, test.change, func(t *testing.T, f *File) {
			f.GoVersion = test.version
			f.minor, _ = parseMinor(test.version)
			got, source, err := f.readOffsets()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "build it with DWARF") {
					t.Errorf("%v from %s, error %v", got, source, err)
				}
				return
			}
			if err != nil || source != test.source || got != known {
				t.Errorf("%v from %s, %v, want %v", got, source, err, known)
			}
		})
	}
	whole := open(t, testprog.Build(t, shapes(t), testprog.Options{GOARCH: "amd64"}))
	whole.GoVersion, whole.minor = unknown, 99
	if r, err := whole.Runtime(); err != nil || r.Source != FromDWARF || r.Offsets != known {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestIsRelease(t *testing.T) {
	for version, want := range map[string]bool{
		"go1.21":                         true,
		"go1.26.8":                       true,
		"go1.24.4 (Red Hat 1.24.4-1.el)": true,
		"go1.23.1-vendor":                true,
		"go1.27rc1":                      false,
		"go1.26.8 X:nogreenteagc":        false,
		"go1.26.8-X:nogreenteagc":        false,
		"devel go1.28-0a1b2c3 Mon":       false,
		"go1.27-devel_0a1b2c3":           false,
		"":                               false,
	} {
		if got := isRelease(version); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}
