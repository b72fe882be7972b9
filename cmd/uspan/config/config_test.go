package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Everything that is wrong with a file is one error, which says where.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{"capure: auto\n", `f:1:1: there is no key "capure"; the nearest is capture`},
		{"capture: auto\nzzzzzzzz: 1\n", `f:2:1: there is no key "zzzzzzzz"; there are capture, capture-depth, `},
		{"functions:\n  - match: main.f\n    signatur: func()\n", `f:3:5: there is no key "signatur"; the nearest is signature`},
		{"functions:\n  - signature: func()\n", `f:2:5: match is missing: which functions is it about?`},
		{"functions:\n  match: main.f\n", `f:2:3: a list (- VALUE) is needed, not a mapping`},
		{"capture-depth: 2\nfor: 1s\ncapture-depth: 3\n", `f:3:1: `},
		{"resource: {team: a, team: b}\n", `f:1:21: `},
		{"capture-depth: two\n", `f:1:16: a whole number is needed, not the text "two"`},
		{"capture-depth: 1.5\n", `f:1:16: a whole number is needed, not the number 1.5`},
		{"capture-depth: '2'\n", `f:1:16: a whole number is needed, not the text "2"`},
		{"capture-depth: 9\n", `f:1:16: capture-depth 9: a number from 1 to 4 is needed`},
		{"capture-depth:\n", `f:1:16: a whole number is needed, not nothing`},
		{"max-trace-spans: 99999999999999999999\n", `f:1:18: `},
		{"max-trace-spans: 18446744073709551615\n", `f:1:18: max-trace-spans 9223372036854775807: a number from 0 to 2147483647 is needed`},
		{"func: main.f\n", `f:1:7: a list (- VALUE) is needed, not the text "main.f"`},
		{"func: [5]\n", `f:1:8: a text is needed, not the number 5; a text that looks like that is written in quotes`},
		{"func: [yes, true]\n", `f:1:13: a text is needed, not true; a text that looks like that is written in quotes`},
		{"func:\n- *all\n", `f:2:3: a text is needed, not an alias of YAML; a text that begins with * is written in quotes`},
		{"func:\n- !main.f\n", `f:2:3: a text is needed, not a tag of YAML; a text that begins with ! is written in quotes`},
		{"func: !!str x\n", `f:1:7: a list (- VALUE) is needed, not a tag of YAML`},
		{"func: ['/(/']\n", `f:1:9: pattern "/(/" is not a regular expression: missing closing ): ` + "`(`"},
		{"root:\n- '!main.f'\n", `f:2:4: root pattern "!main.f": only functions to trace can be taken away`},
		{"capture: all\n", `f:1:10: capture "all": auto or none is needed`},
		{"for: 10\n", `f:1:6: a duration such as 90s or 1m30s is needed, not the number 10`},
		{"for: ten\n", `f:1:6: a duration such as 90s or 1m30s is needed, not the text "ten"`},
		{"for: -1s\n", `f:1:6: for -1s: a duration cannot be negative`},
		{"flush-timeout: 0s\n", `f:1:16: flush-timeout 0s: a duration above zero is needed`},
		{"force: yes\n", `f:1:8: true or false is needed, not the text "yes"`},
		{"verbose: true\nquiet: true\n", `f:2:8: verbose and quiet contradict each other`},
		{"resource: [team]\n", `f:1:11: a mapping (KEY: VALUE) is needed, not a list`},
		{"resource: {team: 5}\n", `f:1:18: a text is needed, not the number 5; a text that looks like that is written in quotes`},
		{"functions: [{match: f, capture: {user: a b}}]\n", "f:1:42: capture user: not Go"},
		{"functions: [{match: f, capture: {password: a}}]\n", "f:1:34: capture \"password\" of f: the name looks like that of a secret"},
		{"functions: [{match: f, capture: [a]}]\n", "f:1:33: a mapping (KEY: VALUE) is needed, not a list"},
		{"limits: {string-bytes: 2000}\n", "f:1:24: string-bytes 2000: a number from 1 to 1024 is needed"},
		{"limits:\n  event-bytes: 5\n", "f:2:16: event-bytes 5: a number from 256 to 3072 is needed"},
		{"secrets:\n  add:\n  - 'a*b'\n", `f:3:6: secret "a*b": a * stands in front or behind alone`},
		{"secrets: {remove: [tokn]}\n", `f:1:20: "tokn" is not among the names of secrets; the nearest is token`},
		{"functions: [{match: f, signature: ''}]\n", "f:1:36: the signature is empty"},
		{"resource: {'': x}\n", `f:1:12: an attribute needs a name`},
		{"- func\n", `f:1:1: a mapping (KEY: VALUE) is needed, not a list`},
		{"text\n", `f:1:1: a mapping (KEY: VALUE) is needed, not the text "text"`},
		{"5: x\n", `f:1:1: a key that is a text is needed, not the number 5`},
		{"<<: {quiet: true}\n", `f:1:1: a key that is a text is needed, not a merge of YAML`},
		{"quiet: true\n---\nquiet: false\n", `f:3:1: a second document: there can be only one`},
		{"func: [\n", `f:1:7: `},
		{"\tquiet: true\n", `f:1:6: `},
		{"quiet: true\n  force: true\n", `f:1:8: `},
	} {
		_, err := Parse("f", []byte(test.yaml))
		var problem *Error
		if !errors.As(err, &problem) || !strings.HasPrefix(err.Error(), test.want) || len(err.Error()) == len("f:1:1: ") {
			t.Errorf("%q:\n got %v\nwant %s", test.yaml, err, test.want)
		}
	}
}

// Texts know where they stand in the file, however they are written.
func TestPlaces(t *testing.T) {
	f, err := Parse("f", []byte("func: [a, 'b', \"c\"]\ntypes:\n  - |\n    type a int\n    type b int\n  - >-\n    type c\n    int\n"))
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		value        string
		line, column int
	}
	want := []place{{"a", 1, 8}, {"b", 1, 12}, {"c", 1, 17}, {"type a int\ntype b int\n", 4, 5}, {"type c int", 7, 5}}
	for i, text := range append(f.Func, f.Types...) {
		if got := (place{text.Value, text.Line, text.Column}); got != want[i] {
			t.Errorf("%+v, want %+v", got, want[i])
		}
	}
}

func TestEmpty(t *testing.T) {
	for _, yaml := range []string{"", "\n", "# nothing\n", "---\n", "--- # nothing\n...\n"} {
		if f, err := Parse("f", []byte(yaml)); err != nil || f.Quiet != nil {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

func TestValues(t *testing.T) {
	f, err := Parse("f", []byte("for: 1m30s\ncapture-depth: 0x3\nforce: true\nresource:\n  team: \"5\"\n  a.b: c\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f.For.Value != 90*time.Second || f.CaptureDepth.Value != 3 || !f.Force.Value {
		t.Errorf("%v %v %v", f.For.Value, f.CaptureDepth.Value, f.Force.Value)
	}
	if len(f.Resource) != 2 || f.Resource[0].Key != "team" || f.Resource[0].Value.Value != "5" || f.Resource[1].Key != "a.b" {
		t.Errorf("%+v", f.Resource)
	}
}
