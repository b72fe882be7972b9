package gobin

import (
	"debug/dwarf"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// DWARF says where functions are declared, too.
func TestLinesAgreeWithDWARF(t *testing.T) {
	source := shapes(t)
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{nil, {"-trimpath"}, {"-buildmode=pie"}} {
			o := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(o.String(), func(t *testing.T) {
				f := open(t, testprog.Build(t, source, o))
				checkLines(t, f)
				file, line := f.Line(find(t, f, "main.unused"))
				if path.Base(file) != "main.go" || line == 0 {
					t.Errorf("main.unused is at %s:%d", file, line)
				}
				if trimmed := slices.Contains(flags, "-trimpath"); trimmed == path.IsAbs(file) {
					t.Errorf("main.unused is in %s", file)
				}
			})
		}
	}
}

func checkLines(t *testing.T, f *File) {
	data, err := f.elf.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	var files []*dwarf.LineFile
	var lines *dwarf.LineReader
	compared := 0
	for r := data.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			break
		}
		switch e.Tag {
		case dwarf.TagCompileUnit:
			if lines, err = data.LineReader(e); err != nil {
				t.Fatal(err)
			}
			files = nil
			if lines != nil {
				files = lines.Files()
			}
			continue
		case dwarf.TagSubprogram:
		default:
			continue
		}
		low, ok := e.Val(dwarf.AttrLowpc).(uint64)
		fileIndex, hasFile := e.Val(dwarf.AttrDeclFile).(int64)
		wantLine, hasLine := e.Val(dwarf.AttrDeclLine).(int64)
		if !hasLine && !f.table.hasLine() && lines != nil {
			// No declarations: the line of the first instruction.
			var at dwarf.LineEntry
			if hasLine = lines.SeekPC(low, &at) == nil; hasLine {
				wantLine = int64(at.Line)
			}
		}
		fn, found := f.Lookup(low)
		if !ok || !hasFile || !hasLine || !found || fn.Assembly || fn.C || int(fileIndex) >= len(files) {
			continue
		}
		if strings.HasSuffix(fn.Symbol, ".init") && wantLine == 1 {
			continue // made of the initialisations of all files of the package
		}
		compared++
		file, line := f.Line(fn)
		if want := files[fileIndex].Name; file != want || line != int(wantLine) {
			t.Errorf("%s is at %s:%d, by DWARF at %s:%d", fn.Symbol, file, line, want, wantLine)
		}
	}
	if compared < 500 && f.minor != 20 { // whose DWARF has no declarations, and whose table has
		t.Errorf("compared %d functions", compared)
	}
}

func TestDecodeRuns(t *testing.T) {
	fn := &Function{Entry: 0x1000, End: 0x1010}
	for _, test := range []struct {
		name string
		p    []byte
		want []run
		ok   bool
	}{
		{"one", []byte{2, 16, 0}, []run{{0x1010, 0}}, true},
		{"first value is the initial one", []byte{0, 4, 4, 12, 0}, []run{{0x1004, -1}, {0x1010, 1}}, true},
		{"down", []byte{2, 8, 1, 8, 0}, []run{{0x1008, 0}, {0x1010, -1}}, true},
		{"ends early", []byte{2, 8, 0}, []run{{0x1008, 0}}, true},
		{"cut off", []byte{2}, nil, false},
		{"cut off varint", []byte{0x80}, nil, false},
		{"too far", []byte{2, 17, 0}, nil, false},
		{"stands still", []byte{2, 0, 2, 0}, nil, false},
		{"empty", nil, nil, false},
	} {
		got, ok := collectRuns(test.p, fn, 1)
		if ok != test.ok || ok && !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %t, want %v, %t", test.name, got, ok, test.want, test.ok)
		}
	}
	if got, ok := collectRuns([]byte{2, 2, 1, 2, 0}, fn, 4); !ok || !slices.Equal(got, []run{{0x1008, 0}, {0x1010, -1}}) {
		t.Errorf("arm64: %v, %t", got, ok)
	}
	if got, ok := collectRuns([]byte{2, 5, 0}, fn, 4); ok {
		t.Errorf("arm64, too far: %v", got)
	}
}

// collectRuns is what decodeRuns tells, until the table ends or is damaged.
func collectRuns(p []byte, fn *Function, quantum uint64) (runs []run, ok bool) {
	ok = decodeRuns(p, fn, quantum, func(r run) bool {
		runs = append(runs, r)
		return true
	})
	return runs, ok
}
