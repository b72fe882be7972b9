package gobin

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

var update = flag.Bool("update", false, "write the golden files")

// Signatures of the program of shapes, with and without optimisation, as they
// are declared in its source.
func TestSignatures(t *testing.T) {
	source := shapes(t)
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{nil, {"-gcflags=all=-N -l"}, {"-buildmode=pie"}} {
			o := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(o.String(), func(t *testing.T) {
				f := open(t, testprog.Build(t, source, o))
				golden := "signatures.golden"
				switch {
				case f.minor == 21:
					golden = "signatures-go1.21.golden" // without unnamed parameters
				case f.minor < 21:
					golden = "signatures-go1.18.golden"
				}
				compareGolden(t, golden, listSignatures(t, f))
			})
		}
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(wanted) || line != wanted[i] {
			t.Errorf("%s:%d: got\n\t%s", path, i+1, line)
		}
	}
	if n := strings.Count(got, "\n"); n+1 != len(wanted) {
		t.Errorf("%s has %d lines, got %d", path, len(wanted)-1, n)
	}
}

// listSignatures lists the functions of the program's own package whose names do
// not depend on the version of Go.
func listSignatures(t *testing.T, f *File) string {
	t.Helper()
	var lines []string
	for i := range f.Functions() {
		fn := &f.Functions()[i]
		if fn.Package != "main" || fn.Wrapper || strings.HasPrefix(fn.Symbol, "main.main.") || strings.HasPrefix(fn.Symbol, "main.init") {
			continue
		}
		// What DWARF says of dictionaries and of method values differs by
		// version and optimisation.
		if f.minor < 21 && (strings.Contains(fn.Symbol, "[...]") || strings.HasSuffix(fn.Symbol, "-fm")) {
			continue
		}
		s, err := f.Signature(fn)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		dictionary := ""
		if s.Dictionary {
			dictionary = " with a dictionary"
		}
		lines = append(lines, fmt.Sprintf("%s(%s) (%s)%s\n", fn.Symbol, listParams(s.Params), listParams(s.Results), dictionary))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func listParams(params []Param) string {
	var list []string
	for _, p := range params {
		name := p.Name
		if name == "" {
			name = "_"
		}
		list = append(list, name+" "+describe(p.Type))
	}
	return strings.Join(list, ", ")
}

// describe writes a type with its layout.
func describe(t *Type) string {
	kinds := []string{"invalid", "bool", "int", "uint", "float", "complex", "pointer", "string", "slice", "array",
		"struct", "interface", "eface", "map", "chan", "func"}
	text := fmt.Sprintf("%s:%s%d", t.Name, kinds[t.Kind], t.Size*8)
	if t.Error {
		text += "!"
	}
	if t.Kind == Array {
		text += fmt.Sprintf("[%d]%s", t.Len, t.Elem.Name)
	}
	if t.Kind == Slice || t.Kind == Pointer && t.Elem != nil {
		text += "→" + t.Elem.Name
	}
	if t.Kind == Struct {
		var fields []string
		for _, field := range t.Fields {
			fields = append(fields, fmt.Sprintf("%d %s %s", field.Offset, field.Name, field.Type.Name))
		}
		text += "{" + strings.Join(fields, "; ") + "}"
	}
	return text
}

// The compiler writes down how large the argument area of each function is: laid
// out by the rules of ABIInternal, the parameters and results that DWARF lists
// must come to exactly that.
func TestSignaturesFillTheArgumentArea(t *testing.T) {
	source := shapes(t)
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{nil, {"-gcflags=all=-N -l"}} {
			o := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(o.String(), func(t *testing.T) {
				f := open(t, testprog.Build(t, source, o))
				for i := range f.Functions() {
					checkArea(t, f, &f.Functions()[i])
				}
			})
		}
	}
}

func checkArea(t *testing.T, f *File, fn *Function) {
	// Go functions that assembly calls, and so follow ABI0.
	abi0 := map[string]bool{"runtime.debugCallCheck": true, "runtime.write": true, "internal/bytealg.countGeneric": true}
	if fn.Assembly || fn.C || abi0[fn.Symbol] {
		return
	}
	s, err := f.Signature(fn)
	if err != nil {
		t.Error(err)
		return
	}
	size, ok := f.ArgsSize(fn)
	if !ok {
		t.Errorf("%s: no size of its arguments", fn.Symbol)
	}
	got := areaOf(s, strings.Contains(fn.Symbol, "]."), fn.Symbol)
	switch {
	case got == int64(size):
	case f.minor <= 21 && got < int64(size): // unnamed parameters are not listed, nor dictionaries before Go 1.21
	default:
		t.Errorf("%s(%s) (%s): the signature takes %d bytes, the compiler %d", fn.Symbol, listParams(s.Params), listParams(s.Results), got, size)
	}
}

// areaOf is the size of the argument area by cmd/compile/abi-internal.md:
// stack-assigned arguments, then results, then spill space.
func areaOf(s *Signature, method bool, symbol string) int64 {
	params := slices.Clone(s.Params)
	if s.Dictionary {
		at := 0
		if method || strings.Contains(symbol, "].") || strings.Contains(symbol, "]).") {
			at = 1
		}
		params = slices.Insert(params, at, Param{Type: &Type{Kind: Pointer, Size: 8, Align: 8}})
	}
	stack, spill := assignTo(params, 0, 0)
	stack, _ = assignTo(s.Results, up(stack, 8), 0)
	return up(stack, 8) + up(spill, 8)
}

func assignTo(params []Param, stack, spill int64) (int64, int64) {
	var used registers
	for _, p := range params {
		if with := used; with.take(p.Type) {
			used = with
			spill = up(spill, p.Type.Align) + p.Type.Size
		} else {
			stack = up(stack, p.Type.Align) + p.Type.Size
		}
	}
	return stack, spill
}

type registers struct{ integers, floats int }

// take assigns registers to a type; false where there are too few.
func (r *registers) take(t *Type) bool {
	switch t.Kind {
	case Bool, Int, Uint, Pointer, Map, Chan, Func:
		r.integers++
	case Float:
		r.floats++
	case Complex:
		r.floats += 2
	case String, Interface, EmptyInterface:
		r.integers += 2
	case Slice:
		r.integers += 3
	case Array:
		return t.Len == 0 || t.Len == 1 && r.take(t.Elem)
	case Struct:
		for _, field := range t.Fields {
			if !r.take(field.Type) {
				return false
			}
		}
	default:
		return false
	}
	return r.integers <= 9 && r.floats <= 15
}

func up(n, align int64) int64 { return (n + align - 1) / align * align }

func TestSignatureWithoutDWARF(t *testing.T) {
	f := open(t, testprog.Build(t, shapes(t), testprog.Options{Flags: []string{"-ldflags=-s -w"}}))
	if _, err := f.Signature(find(t, f, "main.main")); !errors.Is(err, ErrNoDWARF) {
		t.Errorf("error %v", err)
	}
}

// Types refer to each other in circles, and a typedef shares what it stands for.
func TestRecursiveType(t *testing.T) {
	f := open(t, testprog.Build(t, shapes(t), testprog.Options{}))
	s, err := f.Signature(find(t, f, "main.unused"))
	if err != nil {
		t.Fatal(err)
	}
	user := s.Params[2].Type.Elem
	if user.Name != "main.User" || user.Kind != Struct || user.Align != 8 {
		t.Fatalf("%+v", user)
	}
	if next := user.Fields[3].Type; next.Kind != Pointer || next.Elem.Kind != Struct || len(next.Elem.Fields) != 4 {
		t.Errorf("field next is %+v", next)
	}
	if id := user.Fields[0].Type; id.Name != "main.ID" || id.Kind != Uint || id.Size != 8 {
		t.Errorf("field ID is %+v", id)
	}
	if tags := user.Fields[2].Type; tags.Kind != Slice || tags.Elem.Kind != String {
		t.Errorf("field Tags is %+v", tags)
	}
}

func TestConcurrentSignatures(t *testing.T) {
	f := open(t, testprog.Build(t, shapes(t), testprog.Options{}))
	done := make(chan error)
	for range 4 {
		go func() {
			var failed error
			for i := range f.Functions() {
				fn := &f.Functions()[i]
				if fn.Package != "main" {
					continue
				}
				if _, err := f.Signature(fn); err != nil {
					failed = err
				}
				f.Line(fn)
			}
			_, err := f.Runtime()
			done <- errors.Join(failed, err)
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
