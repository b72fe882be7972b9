package instrument_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
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
				exe := testprog.Build(t, newGenerator(seed, options.GoVersion >= "go1.22").program(functions), options)
				kerneltest.Require(t)
				pattern, traced := `/^main\.(.*\.)?f\d+$/`, functions
				if !kerneltest.UprobeMulti() { // all are too many
					pattern, traced = `/^main\.(.*\.)?f\d\d?$/`, 100
				}
				spans, summary, printed := trace(t,
					instrument.Config{Rules: plan.Rules{Patterns: []string{pattern}, Values: true, Depth: plan.MaxDepth}},
					target.Command{Path: exe})
				if summary.LostSpans() != 0 || summary.Lost.ValuesFull != 0 {
					t.Errorf("lost: %+v", summary)
				}
				compareSignatures(t, spans, printed, functions, traced)
			})
		}
	}
}

func compareSignatures(t *testing.T, spans []*span.Span, printed []byte, functions, traced int) {
	t.Helper()
	var truth map[string][2]string
	if err := json.Unmarshal(printed, &truth); err != nil {
		t.Fatalf("the target printed %q: %v", printed, err)
	}
	if len(spans) != traced || len(truth) != functions {
		t.Errorf("%d spans, not %d, of %d functions, not %d", len(spans), traced, len(truth), functions)
	}
	values, floats := 0, 0
	for _, s := range spans {
		for i, list := range [][]span.Value{s.Args, s.Results} {
			want := truth[s.Function.Name[strings.LastIndexByte(s.Function.Name, '.')+1:]][i]
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

// printedAs is an expression for what the program prints of a value.
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
	case span.Pointer:
		return "a pointer to nothing"
	case span.Map:
		texts := make([]string, len(value))
		for i, v := range value {
			texts[i] = regexp.QuoteMeta(v.Name) + ":" + printedAs(v)
		}
		return "map{" + strings.Join(texts, " ") + "}"
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
	blank bool            // parameters may have no name
	types strings.Builder // declarations
	named int
}

func newGenerator(seed uint64, blank bool) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 4)), blank: blank}
}

// signaturesMain is the beginning of a program: text is what uspan shows of values.
const signaturesMain = `package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"sort"
	"strings"
)

var seen = map[string][2]string{}

func remember(name string, args, results string) { seen[name] = [2]string{args, results} }

func text(values ...interface{}) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = show(reflect.ValueOf(v))
	}
	return strings.Join(texts, "|")
}

func show(v reflect.Value) string {
	var parts []string
	if !v.IsValid() {
		return "<nil>"
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Ptr, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func:
		if v.IsNil() {
			return "<nil>"
		}
	}
	if err, ok := v.Interface().(error); ok {
		return err.Error()
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Ptr:
		if v.Kind() == reflect.Ptr && v.Type().Elem().Size() == 0 {
			return "a pointer to nothing"
		}
		return show(v.Elem())
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			parts = append(parts, show(v.Field(i)))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case reflect.Slice, reflect.Array:
		bytes := ""
		for i := 0; i < v.Len(); i++ {
			parts = append(parts, show(v.Index(i)))
			if v.Index(i).Kind() == reflect.Uint8 {
				bytes += string(rune(v.Index(i).Uint()))
			}
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return bytes
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Map:
		for _, key := range v.MapKeys() {
			parts = append(parts, fmt.Sprintf("[%#v]:", key.Interface())+show(v.MapIndex(key)))
		}
		sort.Strings(parts)
		return "map{" + strings.Join(parts, " ") + "}"
	case reflect.Chan:
		return fmt.Sprintf("{%d %d}", v.Len(), v.Cap())
	case reflect.Func:
		return runtime.FuncForPC(v.Pointer()).Name()
	}
	return fmt.Sprint(v.Interface())
}

func given(n int) string { return fmt.Sprint(n) }

func other() {}

func pointer[T any](v T) *T { return &v }

func filled(c chan int8, n int) chan int8 {
	for ; n > 0; n-- {
		c <- int8(n)
	}
	return c
}

// touch writes to memory that is allocated later: a value of which a part lies in a
// page that was never written cannot be read.
func touch() {
	var kept []interface{}
	for size := 8; size <= 1<<11; size += 8 {
		for n := 0; n < 1<<14/size; n++ {
			bytes, pointers := make([]byte, size), make([]*int, size/8)
			bytes[size-1], pointers[size/8-1] = 1, new(int)
			kept = append(kept, bytes, pointers)
		}
	}
	runtime.KeepAlive(kept)
	kept = nil
	runtime.GC()
}

func main() {
	_ = errors.New
	touch()
`

func (g *generator) program(functions int) string {
	var bodies, calls strings.Builder
	for i := range functions {
		g.function(&bodies, &calls, fmt.Sprintf("f%d", i))
	}
	return "-- go.mod --\nmodule example.com/signatures\n\ngo 1.18\n-- main.go --\n" + signaturesMain +
		calls.String() + "\tjson.NewEncoder(os.Stdout).Encode(seen)\n}\n\n" + g.types.String() + bodies.String()
}

// function writes a function or a method, and a call of it. What it cannot name it
// knows all the same.
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
	if g.IntN(6) == 0 { // variadic
		elem, value := g.value(2)
		if elem == "uint8" { // bytes are shown as text
			value = "'y'"
		}
		params, args = append(params, "more ..."+elem), append(args, "more")
		values = append(values, g.repeat(value, g.IntN(4))...)
	}
	for i := range params {
		if g.blank && g.IntN(10) == 0 && args[i] != "more" {
			params[i], args[i] = strings.Replace(params[i], args[i], "_", 1), values[i]
		}
	}
	receiver, on := "", ""
	if g.IntN(4) == 0 {
		typ, value := g.receiver()
		of, from := "v "+typ, "v"
		if pointer := g.IntN(2) == 0; pointer {
			of, value = "v *"+typ, "pointer("+value+")"
		}
		if g.blank && g.IntN(10) == 0 {
			of, from = strings.Replace(of, "v", "_", 1), value
		}
		receiver, on, args = "("+of+") ", value+".", append([]string{from}, args...)
	}
	results, rets, returned := list("r", g.IntN(5))
	fmt.Fprintf(body, "//go:noinline\nfunc %s%s(%s) (%s) {\n", receiver, name, strings.Join(params, ", "), strings.Join(results, ", "))
	for i := range rets {
		fmt.Fprintf(body, "\t%s = %s\n", rets[i], returned[i])
	}
	fmt.Fprintf(body, "\tremember(%q, text(%s), text(%s))\n\treturn\n}\n\n", name, strings.Join(args, ", "), strings.Join(rets, ", "))
	fmt.Fprintf(call, "\t%s%s(%s)\n", on, name, strings.Join(values, ", "))
}

// receiver is a type that can have methods, and an expression of that type.
func (g *generator) receiver() (typ, value string) {
	if g.IntN(2) == 0 {
		return g.structure(3)
	}
	of, value := g.scalar()
	g.named++
	typ = fmt.Sprintf("t%d", g.named)
	fmt.Fprintf(&g.types, "type %s %s\n\n", typ, of)
	return typ, fmt.Sprintf("%s(%s)", typ, value)
}

// scalar is a random type of one value, and an expression of that type.
func (g *generator) scalar() (typ, value string) {
	integers := []struct {
		name string
		bits int
	}{{"int8", 7}, {"int16", 15}, {"int32", 31}, {"int64", 63}, {"int", 63}, {"uint8", 8}, {"uint16", 16}, {"uint32", 32}, {"uint64", 64}, {"uint", 64}, {"uintptr", 64}}
	switch g.IntN(7) {
	case 0, 1, 2:
		i := integers[g.IntN(len(integers))]
		return i.name, fmt.Sprintf("%s(%d)", i.name, g.Uint64()>>(64-i.bits))
	case 3:
		return "bool", fmt.Sprint(g.IntN(2) == 0)
	case 4:
		return "string", fmt.Sprintf("%q", g.word())
	case 5:
		return [2]string{"float32", "float64"}[g.IntN(2)], fmt.Sprint(float64(g.IntN(1000))/8 - 50)
	}
	return [2]string{"complex64", "complex128"}[g.IntN(2)], fmt.Sprintf("complex(%d, %d)", g.IntN(9), g.IntN(9))
}

// value is a random type and an expression of that type.
func (g *generator) value(depth int) (typ, value string) {
	kinds := 8
	if depth > 0 {
		kinds = 20
	}
	switch g.IntN(kinds) {
	case 0, 1, 2, 3, 4, 5, 6:
		return g.scalar()
	case 7:
		if g.IntN(2) == 0 {
			return "error", "nil"
		}
		return "error", fmt.Sprintf("errors.New(%q)", g.word())
	case 8, 9, 10:
		return g.structure(depth)
	case 11, 12:
		elem, value := g.value(depth - 1)
		n := g.IntN(4)
		typ = fmt.Sprintf("[%d]%s", n, elem)
		if g.IntN(3) == 0 {
			typ = "[]" + elem
		}
		if elem == "uint8" { // bytes are shown as text
			value = "'x'"
		}
		return typ, typ + "{" + strings.Join(g.repeat(value, n), ", ") + "}"
	case 13, 14:
		return g.pointer(depth)
	case 15:
		return g.mapping()
	case 16:
		n := g.IntN(4)
		return "chan int8", [2]string{"nil", fmt.Sprintf("filled(make(chan int8, %d), %d)", n+g.IntN(4), n)}[min(g.IntN(4), 1)]
	case 17:
		return "func(int) string", [2]string{"nil", "given"}[g.IntN(2)]
	case 18:
		return "func()", [2]string{"nil", "other"}[g.IntN(2)]
	}
	inner, value := g.scalar()
	return "interface{}", fmt.Sprintf("interface{}(%s(%s))", inner, value)
}

// pointer is one to what is shown in its place.
func (g *generator) pointer(depth int) (typ, value string) {
	typ, value = g.scalar()
	if g.IntN(2) == 0 {
		typ, value = g.structure(depth - 1)
	} else {
		value = fmt.Sprintf("%s(%s)", typ, value)
	}
	if g.IntN(4) == 0 {
		return "*" + typ, "nil"
	}
	return "*" + typ, "pointer(" + value + ")"
}

// mapping is a map with a few entries, whose keys are as text in the order of their
// values.
func (g *generator) mapping() (typ, value string) {
	elem, value := g.scalar()
	typ = "map[" + [2]string{"string", "int16"}[g.IntN(2)] + "]" + elem
	var entries []string
	for n := range g.IntN(4) {
		key := strconv.Itoa(n)
		if strings.HasPrefix(typ, "map[s") {
			key = strconv.Quote(string(rune('a'+n)) + g.word())
		}
		entries = append(entries, key+": "+value)
	}
	return typ, typ + "{" + strings.Join(entries, ", ") + "}"
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
