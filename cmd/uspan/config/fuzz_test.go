package config

import (
	"errors"
	"testing"

	"github.com/uspan/uspan/instrument/plan"
)

// FuzzParse reads whatever files: what is wrong is an *Error within the file, and
// nothing hangs.
func FuzzParse(f *testing.F) {
	for _, file := range []string{
		"func: [main.*, '!main.debug*', /x/]\noutput: [tree]\ncapture-depth: 2\nfor: 1m\nresource: {a: b}\nforce: true\n",
		"functions:\n  - match: main.f\n    signature: |\n      func(\n        n int,\n      )\ntypes:\n  - type T struct { n int }\n",
		"# yaml\n---\nquiet: true\n...\n",
		"func:\n- &a x\n- *a\n- !!str y\n<<: {quiet: true}\n",
		"? {a: b}\n: [c\n",
		"a: >-\n  b\n\tc: \"\\x41\\u00e9\"\n",
	} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data)
		var place *Error
		switch {
		case errors.As(err, &place):
			if place.Line < 1 || place.Column < 1 || place.Problem == "" {
				t.Fatalf("%+v", place)
			}
		case err != nil:
			t.Fatalf("%T %v", err, err)
		default:
			var rules plan.Rules
			file.Rules(&rules)
		}
	})
}
