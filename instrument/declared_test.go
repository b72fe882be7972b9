package instrument_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// TestDeclaredValues traces testdata/values without DWARF: with its source as
// declarations, the values are those of TestValues.
func TestDeclaredValues(t *testing.T) {
	golden, err := os.ReadFile("testdata/values.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range testprog.Versions() {
		if version != "go1.18.10" && version != runtime.Version() && version != "go1.27.1" && os.Getenv("TEST_ALL") != "1" {
			continue
		}
		for _, options := range []testprog.Options{
			{GoVersion: version, Flags: []string{"-ldflags=-s -w"}},
			{GoVersion: version, Flags: []string{"-buildmode=pie"}, Strip: true},
		} {
			t.Run(options.String(), func(t *testing.T) {
				exe := testprog.Build(t, valuesProgram, options)
				kerneltest.Require(t)
				rules, want := declarationsOf(t, valuesSource(t)), string(golden)
				declare(&rules, map[string]string{"main.(*list*.push": "func (l *list[int]) push(v int) int"})
				// Where dictionaries are, only symbols tell.
				without := []string{"shaped", "list[...].last", "(*list[...]).put"}
				if version < "go1.20" {
					without = append(without, beforeJoined...)
				}
				if version < "go1.21" {
					// All instances have one name.
					without = append(without, "generic")
				} else {
					declare(&rules, map[string]string{
						"main.generic[go.shape.int,*":    "func(k int, v string, l list[string]) (int, string)",
						"main.generic[go.shape.string,*": "func(k string, v point, l list[point]) (string, point)",
					})
				}
				spans, summary, _ := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
				if summary.LostSpans() != 0 {
					t.Errorf("lost: %+v", summary)
				}
				checkBigMap(t, spans)
				got := described(spans)
				want, got = withoutFunctions(want, without), withoutFunctions(got, without)
				if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// declarationsOf are rules that declare what a source does.
func declarationsOf(t *testing.T, source string) plan.Rules {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "main.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	text := func(from, to token.Pos) plan.Text {
		at := set.Position(from)
		return plan.Text{Value: source[at.Offset:set.Position(to).Offset], File: "main.go", Line: at.Line, Column: at.Column}
	}
	rules := plan.Rules{Patterns: []string{"main.*", "!main.use", "!main.main*"}, Values: true}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.GenDecl:
			if d.Tok == token.TYPE {
				rules.Types = append(rules.Types, text(d.Pos(), d.End()))
			}
		case *ast.FuncDecl:
			name := d.Name.Name
			if slices.Contains([]string{"generic", "push", "shaped", "put", "last"}, name) {
				continue // generic
			}
			if d.Recv != nil {
				receiver := text(d.Recv.List[0].Type.Pos(), d.Recv.List[0].Type.End()).Value
				if strings.HasPrefix(receiver, "*") {
					receiver = "(" + receiver + ")"
				}
				name = receiver + "." + name
			}
			rules.Functions = append(rules.Functions, plan.FunctionRule{
				Match: plan.Text{Value: "main." + name, File: "main.go"}, Signature: text(d.Pos(), d.Type.End()),
			})
		}
	}
	return rules
}

// declare declares functions that match patterns.
func declare(rules *plan.Rules, signatures map[string]string) {
	for match, signature := range signatures {
		rules.Functions = append(rules.Functions, plan.FunctionRule{Match: plan.Text{Value: match}, Signature: plan.Text{Value: signature}})
	}
}

// withoutFunctions are described spans without those of some functions.
func withoutFunctions(golden string, names []string) string {
	var b strings.Builder
	skip := false
	for line := range strings.Lines(golden) {
		if !strings.HasPrefix(line, " ") {
			name := strings.TrimPrefix(strings.TrimSpace(line), "main.")
			skip = slices.ContainsFunc(names, func(n string) bool { return name == n || strings.HasPrefix(name, n+"[") })
		}
		if !skip {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestAssemblyValues traces functions that are written in assembly, whose arguments
// and results are on the stack. DWARF does not tell of them, whether there is any
// or not: they are as they were declared.
func TestAssemblyValues(t *testing.T) {
	rules := plan.Rules{
		Values: true, Patterns: []string{"main.mixed", "main.framed"}, Types: []plan.Text{{Value: "type pair struct { A int8; B string }"}},
		Functions: []plan.FunctionRule{
			{
				Match:     plan.Text{Value: "main.mixed"},
				Signature: plan.Text{Value: "func(small int8, text string, half float64, list []int, p *pair, by pair) (n int, same string, ok bool)"},
			},
			{Match: plan.Text{Value: "main.framed"}, Signature: plan.Text{Value: "func(text string) (same string)"}},
		},
	}
	const want = `main.mixed
  uspan.arg.small = -3
  uspan.arg.text = "text"
  uspan.arg.half = 2.5
  uspan.arg.list = []int64{7, 8}
  uspan.arg.p.A = 1
  uspan.arg.p.B = "one"
  uspan.arg.by.A = 2
  uspan.arg.by.B = "two"
  uspan.ret.n = 3
  uspan.ret.same = "text"
  uspan.ret.ok = true
main.framed
  uspan.arg.text = "framed"
  uspan.ret.same = "framed"
`
	versions := testprog.Versions()
	for _, version := range []string{versions[0], versions[len(versions)-1]} {
		for _, flags := range [][]string{nil, {"-ldflags=-s -w"}, {"-buildmode=pie"}} {
			options := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(options.String(), func(t *testing.T) {
				exe := testprog.Build(t, "testdata/assembly", options)
				kerneltest.Require(t)
				spans, summary, printed := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
				if summary.LostSpans() != 0 || string(printed) != "3 text true framed\n" {
					t.Errorf("lost: %+v; it printed %q", summary, printed)
				}
				if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(described(spans), "\n")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
