package plan

import (
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

func rulesOf(signature string, declared ...string) Rules {
	rules := Rules{Values: true}
	rules.Functions = []FunctionRule{{
		Match:     Text{Value: "main.f", File: "f", Line: 1, Column: 1},
		Signature: Text{Value: signature, File: "f", Line: 10, Column: 5},
	}}
	for i, text := range declared {
		rules.Types = append(rules.Types, Text{Value: text, File: "f", Line: 20 + i, Column: 5})
	}
	return rules
}

// laid is a signature as text: each type with its kind, size and alignment.
func laid(s *gobin.Signature) string {
	var b strings.Builder
	for i, list := range [][]gobin.Param{s.Params, s.Results} {
		b.WriteString([]string{"(", " ("}[i])
		for j, p := range list {
			if j > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %s %d %d/%d", p.Name, p.Type.Name, p.Type.Kind, p.Type.Size, p.Type.Align)
			for _, f := range p.Type.Fields {
				fmt.Fprintf(&b, " %s@%d", f.Name, f.Offset)
			}
		}
		b.WriteString(")")
	}
	return b.String()
}

func TestDeclaredSignatures(t *testing.T) {
	for _, test := range []struct {
		signature string
		types     []string
		want      string
	}{
		{"func()", nil, "() ()"},
		{"func(a int8, b, c uint32, d uintptr, e float32, g complex128, h bool, i string)", nil,
			"(a int8 2 1/1, b uint32 3 4/4, c uint32 3 4/4, d uintptr 3 8/8, e float32 4 4/4, g complex128 5 16/8, h bool 1 1/1, i string 7 16/8) ()"},
		{"func(int, ...string) (n int, err error)", nil, "( int 2 8/8,  []string 8 24/8) (n int 2 8/8, err error 11 16/8)"},
		{"func name(_ any, b interface{ M() }) error", nil, "( any 12 16/8, b interface{M()} 11 16/8) ( error 11 16/8)"},
		{"func (c *Cart) Add(n int)", []string{"type Cart struct{}"}, "(c *Cart 6 8/8, n int 2 8/8) ()"},
		{"func (*Cart) Add(int)", []string{"type Cart struct{}"}, "( *Cart 6 8/8,  int 2 8/8) ()"},
		{"func(u User)", []string{"type User struct { a byte; Base; t time.Time; b bool }", "type Base struct { ID int64 }"},
			"(u User 10 48/8 a@0 Base@8 t@16 b@40) ()"},
		{"func(l list[string]) pair[int8, bool]", []string{"type (\n\tlist[T any] struct { head T; n int }\n\tpair[A, B any] struct { a A; b B }\n)"},
			"(l list[string] 10 24/8 head@0 n@16) ( pair[int8, bool] 10 2/1 a@0 b@1)"},
		{"func(ctx context.Context, d time.Duration, r *http.Request, w http.ResponseWriter, p unsafe.Pointer)", nil,
			"(ctx context.Context 11 16/8, d time.Duration 2 8/8, r *net/http.Request 6 8/8, w net/http.ResponseWriter 11 16/8, p unsafe.Pointer 6 8/8) ()"},
		{"func(m map[string][]*User, c <-chan int, f func(int) int, a [3]int16)", []string{"type User struct { next *User }"},
			"(m map[string][]*User 13 8/8, c <-chan int 14 8/8, f func(int) int 15 8/8, a [3]int16 9 6/2) ()"},
		{"func(o *other.Thing, l []other.Thing)", nil, "(o *other.Thing 6 8/8, l []other.Thing 8 24/8) ()"},
	} {
		rules := rulesOf(test.signature, test.types...)
		d, err := declare(&rules)
		if err != nil {
			t.Errorf("%s: %v", test.signature, err)
			continue
		}
		s, err := d.lay(&d.functions[0], nil)
		if err != nil {
			t.Errorf("%s: %v", test.signature, err)
			continue
		}
		if got := laid(s); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.signature, got, test.want)
		}
	}
}

// What is wrong with a declaration is said with its place.
func TestDeclarationErrors(t *testing.T) {
	for _, test := range []struct {
		signature string
		types     []string
		want      string
	}{
		{"func(u Usr)", []string{"type User struct{}"}, "f:10:12: there is no type Usr; the nearest is User"},
		{"func(n itn)", nil, "f:10:12: there is no type itn; the nearest is int"},
		{"func(u Account)", nil, "f:10:12: there is no type Account: declare it below types (type Account struct { … })"},
		{"func(n int", nil, "f:10:15: "},
		{"func (c *Cart) Add(n int", []string{"type Cart struct{}"}, "f:10:29: "},
		{"func(\n  n int,\n  s strin,\n)", nil, "f:12:9: there is no type strin; the nearest is string"},
		{"int", nil, "f:10:5: a signature is needed, such as func(n int) error"},
		{"func() { }", nil, "f:10:12: "},
		{"func(n int) = nil", nil, "f:10:5: a signature is needed"},
		{"func F[T any](n T)", nil, "f:10:11: type parameters: declare the signature of one instance, with its types"},
		{"func(c http.Client)", nil, "f:10:12: the layout of net/http.Client is not known: declare a type like it below types, or a pointer to it"},
		{"func(a, b int, c [2]other.Thing)", nil, "f:10:22: the layout of other.Thing is not known"},
		{"func(n [1<<50]int)", nil, "f:10:12: "},
		{"func(n, n int)", nil, "f:10:13: n redeclared in this block"},
		{"func(a int, string)", nil, "f:10:"},
		{"func()", []string{"var x int"}, "f:20:5: only types are declared here: type NAME TYPE"},
		{"func()", []string{""}, "f:20:5: a declaration of a type is needed: type NAME TYPE"},
		{"func()", []string{"type T struct { T }"}, "f:20:10: invalid recursive type"},
		{"func()", []string{"type T int", "type T string"}, "f:21:10: T redeclared in this block"},
		{"func()", []string{"type T struct { a itn }"}, "f:20:23: there is no type itn; the nearest is "},
		{"func()", []string{"type T struct {"}, "f:20:"},
		{"func(x int; y int)", nil, "f:10:15: "},
		{"func(t time.duration)", nil, "f:10:"},
	} {
		rules := rulesOf(test.signature, test.types...)
		err := rules.Check()
		var place *TextError
		if !errors.As(err, &place) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s %q:\n got %v\nwant %s", test.signature, test.types, err, test.want)
		}
	}
	rules := rulesOf("func()")
	rules.Functions[0].Match.Value = "/(/"
	if err := rules.Check(); err == nil || !strings.HasPrefix(err.Error(), "f:1:1: pattern") {
		t.Error(err)
	}
}

// The types of the standard library that declarations know are laid out as in the
// library.
func TestStandardTypes(t *testing.T) {
	var declared strings.Builder
	n := 0
	library := compiled(t, slices.Sorted(maps.Keys(standardTypes)))
	for path, source := range standardTypes {
		pkg, err := library.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range pkg.Scope().Names() {
			object, ok := pkg.Scope().Lookup(name).(*types.TypeName)
			if !ok || !strings.Contains(source, "type "+name+" ") {
				continue
			}
			named := newStandard(token.NewFileSet(), nil)
			ours, err := named.Import(path)
			if err != nil {
				t.Fatal(err)
			}
			got := ours.Scope().Lookup(name).Type()
			if a, b := shape(got, 0), shape(object.Type(), 0); a != b {
				t.Errorf("%s.%s: %s, in the library %s", path, name, a, b)
			}
			n++
		}
		if declared.WriteString(source); strings.Count(source, "type ") == 0 {
			t.Errorf("%s has no types", path)
		}
	}
	if all := strings.Count(declared.String(), "type "); n != all {
		t.Errorf("%d types compared, of %d", n, all)
	}
}

// compiled imports packages as the compiler has written them.
func compiled(t *testing.T, paths []string) types.Importer {
	t.Helper()
	output, err := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, paths...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(output)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

// shape is how a type is laid out, some levels deep.
func shape(t types.Type, depth int) string {
	if depth > 4 {
		return ""
	}
	next := func(t types.Type) string { return shape(t, depth+1) }
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return u.Name()
	case *types.Pointer:
		return "*"
	case *types.Slice:
		return "[]" + next(u.Elem())
	case *types.Map:
		return "map[" + next(u.Key()) + "]" + next(u.Elem())
	case *types.Signature:
		return "func"
	case *types.Interface:
		return fmt.Sprintf("interface %t", u.NumMethods() == 0)
	case *types.Struct:
		text := "struct"
		for field := range u.Fields() {
			text += " " + field.Name() + " " + next(field.Type())
		}
		return text
	}
	return t.String()
}

// A declared signature is laid out as DWARF has it, maps included: no conflict
// is found with the source as declarations, and one with each that differs.
func TestDeclaredAgainstDWARF(t *testing.T) {
	source, err := os.ReadFile("../testdata/values/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, declared, _ := strings.Cut(string(source), "\ntype (")
	declared, _, _ = strings.Cut(declared, "\n)\n")
	for _, version := range testprog.Versions() {
		t.Run(version, func(t *testing.T) {
			f, err := gobin.Open(testprog.Build(t, "../testdata/values", testprog.Options{GoVersion: version}))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, test := range []struct{ match, signature, want string }{
				{"main.maps", "func(m map[string]int, none, empty map[int]string, p map[int]*point, s map[string]string)", ""},
				{"main.structs", "func structs(p point, i item, h huge) (item, point)", ""},
				{"main.pointers", "func(u *user, none *user, n *int, s *string, f *float64, pp **int, b *bool)", ""},
				{"main.secrets", "func(l login, p *login, password string, tokens []string)", ""},
				{"main.times", "func(t time.Time, m time.Time, zero time.Time, d time.Duration, p *time.Time) (time.Duration, time.Time)", ""},
				{"main.maps", "func(m map[string]int, none, empty map[int]string, p map[int]*item, s map[string]string)",
					"parameter 4 is of type map[int]*main.point, not map[int]*item"},
				{"main.bools", "func(a, b bool) bool", "it has 2 results, not 1"},
				{"main.bools", "func(a bool, c bool) (bool, bool)", "parameter 2 is called b, not c"},
			} {
				rules := rulesOf(test.signature, "type ("+declared+"\n)")
				rules.Functions[0].Match.Value, rules.Patterns = test.match, []string{test.match}
				p, err := Build(f, rules)
				if err != nil {
					t.Fatal(err)
				}
				got := strings.Join(p.Conflicts, "\n")
				want := test.want
				if want != "" {
					want = "f:10:5: DWARF says of " + test.match + ": " + want + "; that is what counts"
				}
				if got != want {
					t.Errorf("%s:\n got %s\nwant %s", test.signature, got, want)
				}
				compareImpls(t, f, &rules, test.match)
			}
		})
	}
}

// Assembly is laid out as it is declared, for both architectures; what DWARF says of
// it is nothing. Where nothing is declared, that is the reason.
func TestDeclaredAssembly(t *testing.T) {
	const signature = "func(small int8, text string, half float64, list []int, p *pair, by pair) (n int, same string, ok bool)"
	const want = "small +8, text +16, half +32, list +40, p +64, by +72; n +96, same +104, ok +120"
	for _, arch := range []string{"amd64", "arm64"} {
		for _, flags := range [][]string{nil, {"-ldflags=-s -w"}} {
			options := testprog.Options{GOARCH: arch, Flags: flags}
			t.Run(options.String(), func(t *testing.T) {
				f, err := gobin.Open(testprog.Build(t, "../testdata/assembly", options))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				rules := rulesOf(signature, "type pair struct { A int8; B string }")
				rules.Values, rules.Patterns = true, []string{"main.mixed", "main.framed"}
				rules.Functions[0].Match.Value = "main.mixed"
				p, err := Build(f, rules)
				if err != nil {
					t.Fatal(err)
				}
				mixed, framed := &p.Functions[0], &p.Functions[1]
				if got := stackPlaces(mixed.Args.Captures) + "; " + stackPlaces(mixed.Results.Captures); got != want || !mixed.Declared || len(p.Conflicts) > 0 {
					t.Errorf("%s, want %s; conflicts %q", got, want, p.Conflicts)
				}
				if problem := framed.Unvalued + p.Unvalued; !strings.Contains(problem, "assembly: the configuration file can declare") && len(flags) == 0 {
					t.Errorf("not declared: %q", problem)
				}
			})
		}
	}
}

// stackPlaces are captures with where they are on the stack.
func stackPlaces(captures []Capture) string {
	var texts []string
	for i := range captures {
		texts = append(texts, fmt.Sprintf("%s %+d", captures[i].Name, captures[i].stack))
	}
	return strings.Join(texts, ", ")
}

// compareImpls compares the layouts of a function's maps.
func compareImpls(t *testing.T, f *gobin.File, rules *Rules, name string) {
	t.Helper()
	d, err := declare(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range f.Functions() {
		if fn.Name != name {
			continue
		}
		actual, err := f.Signature(&fn)
		if err != nil {
			t.Fatal(err)
		}
		declared, err := d.lay(&d.functions[0], f)
		if err != nil {
			t.Fatal(err)
		}
		l := newLayouter(&Rules{Depth: 2}, new(Plan).Secrets())
		for i := range actual.Params {
			if actual.Params[i].Type.Kind != gobin.Map || !alike(declared.Params[i].Type, actual.Params[i].Type, 0) {
				continue
			}
			ours, theirs := l.mapLayout(declared.Params[i].Type, 1), l.mapLayout(actual.Params[i].Type, 1)
			if ours == nil || theirs == nil || layoutText(ours) != layoutText(theirs) {
				t.Errorf("%s: map %s:\n%s\n%s", name, actual.Params[i].Name, layoutText(ours), layoutText(theirs))
			}
		}
	}
}

func layoutText(m *MapLayout) string {
	if m == nil {
		return "none"
	}
	header, group := *m, *m.Group
	header.Group, group.Key, group.Elem = nil, nil, nil
	return fmt.Sprintf("%+v %+v", header, group)
}

// FuzzSignature reads whatever signatures and types: what is wrong is an error,
// and nothing hangs.
func FuzzSignature(f *testing.F) {
	f.Add("func(ctx context.Context, cents int64, who string) error", "type User struct { ID int64; Name string }")
	f.Add("func (c *Cart) Add(things ...*Thing) (n int, err error)", "type (\n\tCart struct { m map[string][]Thing }\n\tThing struct { Cart *Cart }\n)")
	f.Add("func(l list[list[int]], a [1 << 3]time.Time)", "type list[T any] struct { head T; tail *list[T] }")
	f.Add("func(f func(int) <-chan struct{}, i interface{ io.Reader; M() })", "type T = map[[2]string]unsafe.Pointer")
	f.Add("func(t T)", "type T struct { T }")
	f.Add("func(x http.Client, y other.Thing)", "type E struct { *http.Client; error }")
	f.Add("func(", "type")
	f.Fuzz(func(t *testing.T, signature, declared string) {
		rules := rulesOf(signature, declared)
		d, err := declare(&rules)
		if err != nil || signature == "" { // none is declared
			return
		}
		s, err := d.lay(&d.functions[0], nil)
		if err != nil {
			t.Fatalf("checked, and not laid out: %v", err)
		}
		l := newLayouter(&rules, new(Plan).Secrets())
		for _, arch := range []gobin.Arch{gobin.AMD64, gobin.ARM64} {
			a := architectureOf(&gobin.File{Arch: arch})
			args, results := l.capture(a, &gobin.Function{Name: "main.f", Package: "main"}, s)
			c := newCompiler()
			args.compile(c)
			results.compile(c)
		}
	})
}
