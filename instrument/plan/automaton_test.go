package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
)

// Names are found however they are written, and not within other words.
func TestSecretNames(t *testing.T) {
	a := new(Plan).Secrets()
	if len(a.Next) > 1<<12 {
		t.Errorf("%d states", len(a.Next))
	}
	upper := func(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
	for _, name := range secretNames {
		words := strings.Fields(strings.TrimPrefix(name, "*"))
		camel := words[0]
		for _, word := range words[1:] {
			camel += upper(word)
		}
		snake := strings.Join(words, "_")
		for _, s := range []string{snake, camel, upper(camel), strings.ToUpper(snake), "user_" + snake, "user" + upper(camel), snake + "2", "X-" + strings.Join(words, "-")} {
			if !a.Has(s) {
				t.Errorf("%s: %q is not found", name, s)
			}
		}
		if strings.HasPrefix(name, "*") && !a.Has("my"+snake) {
			t.Errorf("%s: %q is not found", name, "my"+snake)
		}
	}
	for _, name := range []string{
		"", "name", "x", "tokenizer", "secretary", "hotplate", "credit", "api", "key", "key_api", "sessionid", "monkey", "xpwd", "pwdx", "api_x_key", "mö",
	} {
		if a.Has(name) {
			t.Errorf("%q is found", name)
		}
	}
}

// The word pass names a secret where it is the last one and what it names may be
// text; it has other meanings.
func TestPass(t *testing.T) {
	text := &gobin.Type{Name: "string", Kind: gobin.String, Size: 16}
	octet := &gobin.Type{Name: "uint8", Kind: gobin.Uint, Size: 1}
	number := &gobin.Type{Name: "int", Kind: gobin.Int, Size: 8}
	types := map[string]*gobin.Type{
		"string": text, "any": {Name: "any", Kind: gobin.EmptyInterface, Size: 16}, "[]byte": {Name: "[]uint8", Kind: gobin.Slice, Size: 24, Elem: octet},
		"*string": {Name: "*string", Kind: gobin.Pointer, Size: 8, Elem: text}, "int": number,
		"bool": {Name: "bool", Kind: gobin.Bool, Size: 1}, "*Pass": {Name: "*analysis.Pass", Kind: gobin.Pointer, Size: 8, Elem: &gobin.Type{Name: "analysis.Pass", Kind: gobin.Struct, Size: 8}},
	}
	a := new(Plan).Secrets()
	for of, want := range map[string]bool{
		"pass string": true, "Pass string": true, "userPass string": true, "USER_PASS string": true, "pass2 string": true, "pass []byte": true,
		"dbPass *string": true, "pass any": true, "passengers string": false, "bypass string": false, "passRate string": false, "compass string": false,
		"pass int": false, "pass bool": false, "pass *Pass": false, "passPassword string": true, "tokenPass int": true, "passCount int": false,
	} {
		name, typ, _ := strings.Cut(of, " ")
		if a.secret(name, types[typ], "") != want {
			t.Errorf("%s: %t", of, !want)
		}
	}
	for rule, want := range map[*SecretRules]bool{
		{Remove: texts("pass")}: false, {Add: texts("render pass")}: true, {Add: texts("pass")}: true,
	} {
		a, err := secretsOf(rule)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.secret("renderPass", types["*Pass"], ""); got != want {
			t.Errorf("%v: %t", rule, got)
		}
	}
}

func texts(values ...string) []Text {
	var list []Text
	for i, value := range values {
		list = append(list, Text{Value: value, File: "f", Line: i + 1, Column: 3})
	}
	return list
}

func TestSecretRules(t *testing.T) {
	a, err := secretsOf(&SecretRules{Add: texts("ssn", "cardNumber", "*pin", "iban*", "*tax*"), Remove: texts("token", "session id")})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"ssn": true, "userSSN": true, "ssns": false, "card_number": true, "CardNumber": true, "cardnumber": false, "card": false,
		"mypin": true, "pin": true, "pins": false, "iban": true, "ibans": true, "myiban": false, "xtaxes": true,
		"token": false, "userToken": false, "mytoken": false, "tokens": true, "sessionId": false, "password": true,
	} {
		if a.Has(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	for _, test := range []struct {
		rules SecretRules
		want  string
	}{
		{SecretRules{Add: texts("a*b")}, `f:1:3: secret "a*b": a * stands in front or behind alone`},
		{SecretRules{Add: texts("ok", "*")}, `f:2:3: secret "*": it has no letters`},
		{SecretRules{Add: texts("")}, `f:1:3: secret "": it has no letters`},
		{SecretRules{Add: texts("größe")}, `f:1:3: secret "größe": only ASCII is looked for`},
		{SecretRules{Add: texts(strings.Repeat("x", 65))}, "it is longer than 64 bytes"},
		{SecretRules{Add: slices.Repeat(texts("x"), 1001)}, "f:1:3: more than 1000 names of secrets"},
		{SecretRules{Remove: texts("tokn")}, `f:1:3: "tokn" is not among the names of secrets; the nearest is token`},
		{SecretRules{Remove: texts("elephant")}, `f:1:3: "elephant" is not among the names of secrets`},
	} {
		if err := (Rules{Secrets: test.rules}).Check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v\nwant %s", err, test.want)
		}
	}
}

// What the rules call a secret is not read: no step covers it.
func TestSecretIsNotRead(t *testing.T) {
	text := &gobin.Type{Name: "string", Kind: gobin.String, Size: 16, Align: 8}
	number := &gobin.Type{Name: "int", Kind: gobin.Int, Size: 8, Align: 8}
	person := &gobin.Type{Name: "main.person", Kind: gobin.Struct, Size: 48, Align: 8, Fields: []gobin.Field{
		{Name: "Name", Type: text}, {Name: "SSN", Offset: 16, Type: text}, {Name: "Pin", Offset: 32, Type: number}, {Name: "Age", Offset: 40, Type: number},
	}}
	pointer := &gobin.Type{Name: "*main.person", Kind: gobin.Pointer, Size: 8, Align: 8, Elem: person}
	sig := &gobin.Signature{Params: []gobin.Param{{Name: "p", Type: pointer}, {Name: "pin", Type: number}}}
	secrets, err := secretsOf(&SecretRules{Add: texts("ssn", "pin")})
	if err != nil {
		t.Fatal(err)
	}
	rules := Rules{Values: true}
	args, _ := newLayouter(&rules, secrets).capture(architectureOf(&gobin.File{Arch: gobin.AMD64}), &gobin.Function{Name: "main.f", Package: "main"}, sig)
	if args.Registers != 1 {
		t.Errorf("registers %b are read, not the first alone", args.Registers)
	}
	c := newCompiler()
	args.compile(c)
	read := make([]bool, person.Size)
	for _, s := range c.steps {
		if s.Op == FollowPointer && s.Whole {
			t.Errorf("the whole struct is read: %+v", s)
		}
		if s.Op == FollowData && s.Offset == 16 {
			t.Errorf("the text behind SSN is read: %+v", s)
		}
		if s.Op == ReadRange {
			for i := s.Offset; i < s.Offset+s.Size; i++ {
				read[i] = true
			}
		}
	}
	for i := range read {
		if want := i < 16 || i >= 40; read[i] != want {
			t.Errorf("byte %d: read %t, want %t", i, read[i], want)
		}
	}
}

// A secret behind all else that is read of an element is not read with it.
func TestLastSecretIsNotRead(t *testing.T) {
	text := &gobin.Type{Name: "string", Kind: gobin.String, Size: 16, Align: 8}
	pin := &gobin.Type{Name: "main.pin", Kind: gobin.Struct, Size: 32, Align: 8, Fields: []gobin.Field{{Name: "Owner", Type: text}, {Name: "Token", Offset: 16, Type: text}}}
	l := newLayouter(&Rules{Depth: 2}, new(Plan).Secrets())
	c := newCompiler()
	n := l.slice(&gobin.Type{Name: "[]main.pin", Kind: gobin.Slice, Size: 24, Elem: pin}, 2)
	steps := c.follow(n, 0)
	if len(steps) != 1 || steps[0].Op != FollowData || steps[0].Whole {
		t.Fatalf("steps %+v", steps)
	}
	inner := c.steps[steps[0].Program.First:][:steps[0].Program.Count]
	if len(inner) != 2 || inner[0].Op != ReadRange || inner[0].Offset != 0 || inner[0].Size != 16 || inner[1].Op != FollowData || inner[1].Offset != 0 {
		t.Errorf("steps of an element %+v", inner)
	}
}
