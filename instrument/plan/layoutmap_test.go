package plan

import (
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
)

// Whether a group is read as a whole or by its slots, and whether its keys are
// judged, depends on what they may hold.
func TestGroups(t *testing.T) {
	text := &gobin.Type{Name: "string", Kind: gobin.String, Size: 16}
	number := &gobin.Type{Name: "int", Kind: gobin.Int, Size: 8}
	octet := &gobin.Type{Name: "uint8", Kind: gobin.Uint, Size: 1}
	array := func(of *gobin.Type, n int64) *gobin.Type {
		return &gobin.Type{Name: "array", Kind: gobin.Array, Size: n * of.Size, Len: n, Elem: of}
	}
	structure := func(name string, of *gobin.Type) *gobin.Type {
		return &gobin.Type{Name: "main.T", Kind: gobin.Struct, Size: of.Size, Fields: []gobin.Field{{Name: name, Type: of}}}
	}
	file := &gobin.File{}
	for name, test := range map[string]struct {
		key, elem               *gobin.Type
		judged, apart, redacted bool
	}{
		"numbers":              {number, number, false, false, false},
		"text behind numbers":  {number, text, false, false, false},
		"large elements":       {number, array(number, 10), false, true, false},
		"secrets in elements":  {number, structure("Token", text), false, true, false},
		"text":                 {text, number, true, true, false},
		"text in an array":     {array(text, 1), number, true, true, false},
		"octets":               {array(octet, 8), number, true, true, false},
		"text in a struct":     {structure("K", text), number, true, true, false},
		"far within structs":   {structure("A", structure("B", structure("C", text))), number, true, true, false},
		"more than is read":    {array(text, 30), number, true, true, true},
		"more octets than are": {array(octet, 129), number, true, true, true},
		"a secret in a key":    {structure("Token", text), number, true, true, true},
		"an interface":         {&gobin.Type{Name: "any", Kind: gobin.EmptyInterface, Size: 16}, number, true, true, false},
		"pointers":             {&gobin.Type{Name: "*string", Kind: gobin.Pointer, Size: 8, Elem: text}, number, false, false, false},
	} {
		l := newLayouter(&Rules{Depth: 2}, new(Plan).Secrets())
		n := l.mapping(&gobin.Type{Name: "map", Kind: gobin.Map, Size: 8, Key: test.key, Elem: test.elem, Impl: file.MapImpl(test.key, test.elem)}, 2)
		if n.Kind != Map {
			t.Errorf("%s: %s", name, n.Reason)
			continue
		}
		if g := n.Map.Group; g.Judged != test.judged || g.Apart != test.apart || (g.Elem.Kind == Redacted) != test.redacted {
			t.Errorf("%s: judged %t, apart %t, element %v", name, g.Judged, g.Apart, g.Elem.Kind)
		}
	}
}
