package plan

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

func TestParseExpressions(t *testing.T) {
	for _, test := range []struct {
		text string
		want Expressions
	}{
		{"main.checkout: user=req.User.ID, n=len(items)", Expressions{Pattern: "main.checkout", List: []Expression{{Name: "user", Text: "req.User.ID"}, {Name: "n", Text: "len(items)"}}}},
		{" main.* :a = b[0] ,c=(d)", Expressions{Pattern: "main.*", List: []Expression{{Name: "a", Text: "b[0]"}, {Name: "c", Text: "(d)"}}}},
		{"type:.eq.main.T: p=p.X", Expressions{Pattern: "type:.eq.main.T", List: []Expression{{Name: "p", Text: "p.X"}}}},
		{`/^main\.(a|b: c)$/: x=y`, Expressions{Pattern: `/^main\.(a|b: c)$/`, List: []Expression{{Name: "x", Text: "y"}}}},
	} {
		got, err := ParseExpressions(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.text, diff)
		}
	}
}

// What is wrong with an expression is said with its place, by itself or for the
// types of a function.
func TestExpressionErrors(t *testing.T) {
	f := openShop(t, testprog.Options{GoVersion: goldenVersion, GOARCH: "amd64", Flags: []string{"-trimpath"}})
	var b strings.Builder
	for _, text := range []string{
		"",
		"main.checkout",
		"main.checkout: c",
		"main.checkout: =c",
		"main.checkout: c=",
		"main.checkout: c.d=c",
		"main.checkout: token=c",
		"main.checkout: n=c, n=i",
		"!main.checkout: n=c",
		"/(/: n=c",
		"main.checkout: x=c.",
		"main.checkout: x=c)",
		"main.checkout: x=c.Total()",
		"main.checkout: x=len(c, c)",
		"main.checkout: x=len(len(c))",
		"main.checkout: x=c.items[len(c)]",
		"main.checkout: x=c.items[0]",
		"main.checkout: x=c.items.all[-1]",
		"main.checkout: x=c.items.all[true]",
		"main.checkout: x=c.items[1.5]",
		"main.checkout: x=c.items[99999999999999999999]",
		"main.checkout: x=i + 1",
		"main.checkout: x=-i",
		"main.checkout: x=3",
		"main.checkout: x=c.items[1:2]",
		"main.checkout: x=c.(*Cart)",
		"main.checkout: x=err.(type)",
		"main.checkout: x=err.(*Cart).owner",
		"main.checkout: x=err.(*errors.errorStrin).s",
		"main.checkout: x=err.(*errors.errorString).t",
		"main.checkout: x=err.(error)",
		"main.checkout: x=err.(fmt.Stringer)",
		"main.checkout: x=err.(*nothere.Missing)",
		"main.checkout: x=func() {}",
		"main.chekout: x=c",
		"main.sum: x=a",
		"main.checkout: x=cart",
		"main.checkout: x=C",
		"main.checkout: x=c.Owner",
		"main.checkout: x=c.ownr, y=c.owner",
		"main.checkout: x=c.owner.name",
		"main.checkout: x=*c.owner",
		"main.checkout: x=price",
		"main.checkout: x=i[0]",
		"main.checkout: x=len(i)",
		"main.checkout: x=cap(c.owner)",
		`main.checkout: x=c.owner["a"]`,
		"main.checkout: x=c.owner[9223372036854775807]",
		"main.checkout: x=err.msg",
		"main.checkout: x=ret1",
		"main.checkout: x=ret2",
		"main.login: x=arg7",
		"main.login: x=password, y=user",
		"main.login: x=len(password)",
		"main.tokens: x=apiKey[0]",
		"main.newToken: x=ret0",
		"main.asmAdd: x=a",
	} {
		b.WriteString("$ --capture '" + text + "'\n")
		e, err := ParseExpressions(text)
		if err == nil {
			patterns := []string{"main.checkout", "main.login", "main.tokens", "main.newToken", "main.asmAdd"}
			_, err = Build(f, Rules{Patterns: patterns, Values: true, Expressions: []Expressions{e}})
		}
		if err != nil {
			b.WriteString(err.Error() + "\n\n")
		} else {
			b.WriteString("no error\n\n")
		}
	}
	golden(t, "expressions.txt", b.String())

	rules := Rules{Patterns: []string{"main.*"}, Expressions: []Expressions{{Pattern: "main.checkout", List: []Expression{{Name: "who", Text: "c.ownr"}}}}}
	_, err := Build(f, rules)
	e, ok := errors.AsType[*ExpressionError](err)
	if !ok || e.Function != "main.checkout" || e.Column != 2 || !slices.Equal(e.Near, []string{"owner"}) {
		t.Errorf("Build: %#v", err)
	}
	if err := rules.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// What expressions say of functions takes the place of all that is captured of
// them, in the plan and in the list.
func TestPrintedExpressions(t *testing.T) {
	f := openShop(t, testprog.Options{GoVersion: goldenVersion, GOARCH: "amd64", Flags: []string{"-trimpath"}})
	f.Path, f.BuildID = "./shop", "0123456789abcdef"
	rules := Rules{Patterns: []string{"main.checkout", "main.login", "main.sum", "main.many"}}
	for _, text := range []string{
		"main.checkout: owner=c.owner, wait=wait", "main.*: who=user, ok=ret0", "/sum$/: total=ret0, b=b", "main.checkout: wait=i",
	} {
		e, err := ParseExpressions(text)
		if err != nil {
			t.Fatal(err)
		}
		rules.Expressions = append(rules.Expressions, e)
	}
	if _, err := Build(f, rules); err == nil || !strings.Contains(err.Error(), "two captures of that name") {
		t.Errorf("two of a name: %v", err)
	}
	rules.Expressions = rules.Expressions[:3]
	p, err := Build(f, rules)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, write := range []func() error{
		func() error { _, err := p.WriteTo(&b); return err },
		func() error {
			for l := range p.List {
				b.WriteString(l.Signature() + "\n    " + strings.Join(l.Notes(), "\n    ") + "\n")
			}
			return nil
		},
		func() error { return p.WriteJSON(&b) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "expressions.plan", b.String())
}

// fuzzTypes are types of all kinds, circles of pointers and of embedded structs
// among them.
func fuzzSignature() *gobin.Signature {
	number := &gobin.Type{Name: "int", Kind: gobin.Int, Size: 8, Align: 8}
	text := &gobin.Type{Name: "string", Kind: gobin.String, Size: 16, Align: 8}
	float := &gobin.Type{Name: "float64", Kind: gobin.Float, Size: 8, Align: 8}
	node := &gobin.Type{Name: "main.Node", Kind: gobin.Struct, Size: 104, Align: 8}
	pointer := &gobin.Type{Name: "*main.Node", Kind: gobin.Pointer, Size: 8, Align: 8, Elem: node}
	circle := &gobin.Type{Name: "main.P", Kind: gobin.Pointer, Size: 8, Align: 8}
	circle.Elem = circle
	slice := &gobin.Type{Name: "[]main.Node", Kind: gobin.Slice, Size: 24, Align: 8, Elem: node}
	array := &gobin.Type{Name: "[3]string", Kind: gobin.Array, Size: 48, Align: 8, Elem: text, Len: 3}
	node.Fields = []gobin.Field{
		{Name: "Node", Type: pointer, Embedded: true},
		{Name: "next", Offset: 8, Type: pointer},
		{Name: "n", Offset: 16, Type: number},
		{Name: "s", Offset: 24, Type: text},
		{Name: "Password", Offset: 40, Type: text},
		{Name: "kids", Offset: 56, Type: slice},
		{Name: "m", Offset: 80, Type: &gobin.Type{Name: "map[string]int", Kind: gobin.Map, Size: 8, Align: 8, Key: text, Elem: number}},
		{Name: "squares", Offset: 80, Type: &gobin.Type{
			Name: "map[int]string", Kind: gobin.Map, Size: 8, Align: 8, Key: number, Elem: text, Impl: new(gobin.File).MapImpl(number, text),
		}},
		{Name: "c", Offset: 88, Type: &gobin.Type{Name: "chan int", Kind: gobin.Chan, Size: 8, Align: 8}},
		{Name: "f", Offset: 96, Type: float},
	}
	pair := &gobin.Type{Name: "main.pair", Kind: gobin.Struct, Size: 24, Align: 8, Fields: []gobin.Field{
		{Name: "f", Type: float}, {Name: "s", Offset: 8, Type: text},
	}}
	return &gobin.Signature{
		Params: []gobin.Param{
			{Name: "p", Type: pointer}, {Name: "a", Type: array}, {Name: "pair", Type: pair}, {Name: "circle", Type: circle},
			{Name: "s", Type: slice}, {Name: "node", Type: node}, {Name: "", Type: text}, {Name: "any", Type: &gobin.Type{Name: "any", Kind: gobin.EmptyInterface, Size: 16, Align: 8}},
		},
		Results: []gobin.Param{{Name: "n", Type: number}, {Type: array}, {Type: &gobin.Type{Name: "error", Kind: gobin.Interface, Size: 16, Align: 8, Error: true}}},
	}
}

// FuzzExpressions parses and checks anything. What passes is compiled: every step
// stays within its bounds.
func FuzzExpressions(f *testing.F) {
	for _, seed := range []string{
		"main.f: a=p.next.next.n, b=len(p.kids), c=cap(s)", "main.f: a=a[1], b=ret1[2], c=n, e=ret2", "f: a=(*p).kids[3].s[0], b=*circle, c=pair.s",
		"/f/: a=node.Node.Node.n, b=node.n", "f: a=len(p.m), b=cap(p.c), c=p.Password, d=p.m[\"x\"]", "f: a=arg6[1], b=any, c=**p", "f:a=b[0x1_0],c=`,`", "f: a='\\''",
		"f: s=s[2147483647].n", "f: a=p.\xff", "type:.eq: a=a", "f: a=circle.x", "f: x=pair.f, y=node.f, z=p.f",
		"f: a=any.(T).next.n, b=any.(*T), c=ret2.(*T).s[3], d=len(any.(T).kids)", "f: a=p.squares[7], b=len(node.squares['x']), c=p.m[\"a\"]", "f: a=p.squares[-3], b=p.m[false], c=s[-1]",
	} {
		f.Add(seed)
	}
	sig := fuzzSignature()
	fn := &gobin.Function{Name: "main.f", Symbol: "main.f", Package: "main"}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseExpressions(text)
		if err != nil {
			_ = err.Error()
			return
		}
		if again, err := ParseExpressions(text); err != nil || !cmp.Equal(again, e) {
			t.Fatalf("%v, and %v", e, again)
		}
		b := builder{rules: Rules{Expressions: []Expressions{e}}, layouter: newLayouter(&Rules{}, new(Plan).Secrets()), compiler: newCompiler(), plan: &Plan{}}
		b.layouter.held = func(name, _ string) (gobin.RuntimeType, *gobin.Type, []string, string) {
			t := sig.Params[0].Type // *main.Node
			if !strings.HasPrefix(name, "*") {
				t = t.Elem
			}
			return gobin.RuntimeType{Addr: 1, Name: name}, t, nil, ""
		}
		if err := b.readExpressions(); err != nil {
			t.Fatalf("%q was checked: %v", text, err)
		}
		for _, arch := range []*architecture{&amd64, &arm64} {
			args, results := b.layouter.explicit(arch, fn, sig, b.captureRules[0].list)
			for _, x := range b.captureRules[0].list {
				if x.err != nil && (x.err.Column < 0 || x.err.Column > len(x.Text) || x.err.Error() == "") {
					t.Errorf("%q: column %d", x.Text, x.err.Column)
				}
				if !x.worked && x.err == nil {
					t.Errorf("%q neither fits nor not", x.Text)
				}
			}
			args.compile(b.compiler)
			results.compile(b.compiler)
			for _, part := range []Part{args, results} {
				if part.Size > chunkMax {
					t.Errorf("a root chunk of %d bytes", part.Size)
				}
				for _, c := range part.Captures {
					if c.Node == nil || c.Node.Extent() > 0 && c.Offset+c.Node.Extent() > part.Size {
						t.Errorf("%s = %s: at %d of %d", c.Name, c.Expression, c.Offset, part.Size)
					}
				}
			}
		}
		b.readAsserted()
		for _, d := range b.plan.Dynamics {
			if d.Size > chunkMax {
				t.Errorf("%d bytes of what an interface holds", d.Size)
			}
		}
		for _, s := range b.compiler.steps {
			if s.Skip > 1<<31-1 || s.Size > chunkMax && s.Op != EachElement || int(s.Program.First)+int(s.Program.Count) > len(b.compiler.steps) {
				t.Errorf("step %+v", s)
			}
		}
	})
}
