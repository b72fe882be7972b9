package instrument_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// TestSignatures proves the calling convention against the compiler: functions
// with random signatures, which remember what they got and what they return.
func TestSignatures(t *testing.T) {
	kerneltest.Require(t)
	const functions = 400
	seeds := uint64(1)
	if os.Getenv("TEST_ALL") == "1" {
		seeds = 5
	}
	for _, options := range []testprog.Options{
		{GoVersion: "go1.21.13"},
		{GoVersion: "go1.27.1"},
		{GoVersion: "go1.27.1", Flags: []string{"-gcflags=all=-N -l"}},
	} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", options, seed), func(t *testing.T) {
				exe := testprog.Build(t, newGenerator(seed).program(functions), options)
				spans, summary, printed := trace(t,
					instrument.Config{Rules: plan.Rules{Patterns: []string{"main.f?", "main.f??", "main.f???"}, Values: true, Depth: plan.MaxDepth}},
					target.Command{Path: exe})
				if summary.LostSpans() != 0 || summary.Lost.ValuesFull != 0 {
					t.Errorf("lost: %+v", summary)
				}
				compareSignatures(t, spans, printed, functions)
			})
		}
	}
}

func compareSignatures(t *testing.T, spans []*span.Span, printed []byte, functions int) {
	t.Helper()
	var truth map[string][2]string
	if err := json.Unmarshal(printed, &truth); err != nil {
		t.Fatalf("the target printed %q: %v", printed, err)
	}
	if len(spans) != functions || len(truth) != functions {
		t.Errorf("%d spans of %d functions", len(spans), len(truth))
	}
	values, floats := 0, 0
	for _, s := range spans {
		for i, list := range [][]span.Value{s.Args, s.Results} {
			want := truth[strings.TrimPrefix(s.Function.Name, "main.")][i]
			var texts []string
			for _, v := range list {
				text := printedAs(v)
				texts = append(texts, text)
				values++
				floats += strings.Count(text, inRegister)
			}
			got := strings.Join(texts, regexp.QuoteMeta("|"))
			if !regexp.MustCompile("^" + got + "$").MatchString(want) {
				t.Errorf("%s: %s: captured\n%s\ngot\n%s", s.Function.Name, [2]string{"arguments", "results"}[i], got, want)
			}
		}
	}
	t.Logf("%d values, %d floats in registers", values, floats)
	if values == 0 || floats > values {
		t.Error("too few values, or too many floats in registers")
	}
}

// inRegister stands for a number that cannot be seen.
const inRegister = `[-+.\deIinfNa()]+`

// printedAs is an expression for what fmt prints of a value.
func printedAs(v span.Value) string {
	list := func(open string, values []span.Value, shut string) string {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = printedAs(v)
		}
		return regexp.QuoteMeta(open) + strings.Join(texts, " ") + regexp.QuoteMeta(shut)
	}
	switch value := v.Value.(type) {
	case nil:
		switch v.Note {
		case "float in a register", "complex in a register":
			return inRegister
		case "nil":
			return "<nil>"
		}
		return regexp.QuoteMeta("missing: " + v.Note)
	case span.Struct:
		return list("{", value, "}")
	case span.List:
		return list("[", value, "]")
	case span.Dynamic:
		return printedAs(value.Value)
	case *span.Error:
		if value == nil {
			return "<nil>"
		}
		return regexp.QuoteMeta(value.String())
	}
	return regexp.QuoteMeta(fmt.Sprint(v.Value))
}

// A generator writes programs.
type generator struct {
	*rand.Rand
	types strings.Builder // declarations
	named int
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 4))}
}

func (g *generator) program(functions int) string {
	var bodies, calls strings.Builder
	for i := range functions {
		g.function(&bodies, &calls, fmt.Sprintf("f%d", i))
	}
	return "-- go.mod --\nmodule example.com/signatures\n\ngo 1.18\n-- main.go --\n" + `package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

var seen = map[string][2]string{}

func remember(name string, args, results string) { seen[name] = [2]string{args, results} }

func text(values ...interface{}) (s string) {
	for i, v := range values {
		if i > 0 {
			s += "|"
		}
		s += fmt.Sprint(v)
	}
	return s
}

func main() {
	_ = errors.New
` + calls.String() + "\tjson.NewEncoder(os.Stdout).Encode(seen)\n}\n\n" + g.types.String() + bodies.String()
}

// function writes a function, and a call of it.
func (g *generator) function(body, call *strings.Builder, name string) {
	list := func(prefix string, n int) (declared, names, values []string) {
		for i := range n {
			typ, value := g.value(3)
			declared = append(declared, fmt.Sprintf("%s%d %s", prefix, i, typ))
			names = append(names, fmt.Sprintf("%s%d", prefix, i))
			values = append(values, value)
		}
		return declared, names, values
	}
	params, args, values := list("a", g.IntN(9))
	results, rets, returned := list("r", g.IntN(5))
	fmt.Fprintf(body, "//go:noinline\nfunc %s(%s) (%s) {\n", name, strings.Join(params, ", "), strings.Join(results, ", "))
	for i := range rets {
		fmt.Fprintf(body, "\t%s = %s\n", rets[i], returned[i])
	}
	fmt.Fprintf(body, "\tremember(%q, text(%s), text(%s))\n\treturn\n}\n\n", name, strings.Join(args, ", "), strings.Join(rets, ", "))
	fmt.Fprintf(call, "\t%s(%s)\n", name, strings.Join(values, ", "))
}

// value is a random type and an expression of that type.
func (g *generator) value(depth int) (typ, value string) {
	integers := []struct {
		name string
		bits int
	}{{"int8", 7}, {"int16", 15}, {"int32", 31}, {"int64", 63}, {"int", 63}, {"uint16", 16}, {"uint32", 32}, {"uint64", 64}, {"uint", 64}, {"uintptr", 64}}
	kinds := 8
	if depth > 0 {
		kinds = 13
	}
	switch g.IntN(kinds) {
	case 0, 1, 2:
		i := integers[g.IntN(len(integers))]
		return i.name, fmt.Sprintf("%s(%d)", i.name, g.Uint64()>>(64-i.bits))
	case 3:
		return "bool", fmt.Sprint(g.IntN(2) == 0)
	case 4:
		return "string", fmt.Sprintf("%q", g.word())
	case 5:
		return [2]string{"float32", "float64"}[g.IntN(2)], fmt.Sprint(float64(g.IntN(1000))/8 - 50)
	case 6:
		return "complex128", fmt.Sprintf("complex(%d, %d)", g.IntN(9), g.IntN(9))
	case 7:
		if g.IntN(2) == 0 {
			return "error", "nil"
		}
		return "error", fmt.Sprintf("errors.New(%q)", g.word())
	case 8, 9:
		return g.structure(depth)
	case 10, 11: // not of bytes, which are shown as text
		elem, value := g.value(depth - 1)
		n := g.IntN(4)
		typ = fmt.Sprintf("[%d]%s", n, elem)
		if g.IntN(3) == 0 {
			typ = "[]" + elem
		}
		return typ, typ + "{" + strings.Join(g.repeat(value, n), ", ") + "}"
	}
	inner, value := g.value(0)
	if inner == "error" {
		return "interface{}", "interface{}(nil)"
	}
	return "interface{}", fmt.Sprintf("interface{}(%s(%s))", inner, value)
}

func (g *generator) repeat(value string, n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = value
	}
	return values
}

func (g *generator) structure(depth int) (typ, value string) {
	g.named++
	typ = fmt.Sprintf("t%d", g.named)
	var fields, values []string
	for i := range g.IntN(5) {
		t, v := g.value(depth - 1)
		fields = append(fields, fmt.Sprintf("\tF%d %s\n", i, t))
		values = append(values, v)
	}
	fmt.Fprintf(&g.types, "type %s struct {\n%s}\n\n", typ, strings.Join(fields, ""))
	return typ, typ + "{" + strings.Join(values, ", ") + "}"
}

func (g *generator) word() string {
	letters := make([]byte, 1+g.IntN(12))
	for i := range letters {
		letters[i] = byte('a' + g.IntN(26))
	}
	return string(letters)
}
