package span

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What an interface or an error holds, and what is missing of it, are said by the
// same keys; a nil error is one that is missing, but as the last result.
func TestDynamicKeys(t *testing.T) {
	none, missing := (*Error)(nil), Value{Note: tooDeep}
	tests := []struct {
		name        string
		value       Value
		attributes  map[string]any
		unavailable []string
	}{
		{"a number", Value{Value: Dynamic{"int", Value{Value: int64(1)}}}, map[string]any{"arg.x.type": "int", "arg.x.value": int64(1)}, nil},
		{"a struct", Value{Value: Dynamic{"T", Value{Value: Struct{{Name: "a", Note: isNil}}}}}, map[string]any{"arg.x.type": "T"}, []string{"arg.x.a: nil"}},
		{"nothing that is known", Value{Value: Dynamic{"*int", missing}}, map[string]any{"arg.x.type": "*int"}, []string{"arg.x.value: " + tooDeep}},
		{"a nil interface", Value{Note: isNil}, nil, []string{"arg.x: nil"}},
		{"an error", Value{Value: &Error{Type: "*T", Message: "m"}}, map[string]any{"arg.x": "m"}, nil},
		{"an error that is a nil pointer", Value{Value: &Error{Type: "*T", Value: Value{Note: isNil}}}, map[string]any{"arg.x.type": "*T"}, []string{"arg.x.value: nil"}},
		{"an error by its fields", Value{Value: &Error{Type: "T", Value: Value{Value: Struct{{Name: "a", Value: true}}}}}, map[string]any{"arg.x.type": "T", "arg.x.a": true}, nil},
		{"a nil error", Value{Value: none}, nil, []string{"arg.x: nil"}},
		{"nil errors in a list", Value{Value: List{{Name: "[0]", Value: none}, {Name: "[1]", Value: none}}}, nil, []string{"arg.x[0]: nil", "arg.x[1]: nil"}},
		{"a nil error in a map", Value{Value: Map{{Name: `["k"]`, Value: none}}}, nil, []string{`arg.x["k"]: nil`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.value.Name = "x"
			var s Span
			s.note("arg.", []Value{test.value})
			var attributes map[string]any
			test.value.attributes("arg.x", func(key string, value any) {
				if attributes == nil {
					attributes = make(map[string]any)
				}
				attributes[key] = value
			})
			if diff := cmp.Diff(test.attributes, attributes); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.unavailable, s.Unavailable); diff != "" {
				t.Error(diff)
			}
		})
	}
	var s Span
	s.note("ret.", []Value{{Name: "0", Value: none}, {Name: "err", Value: none}})
	if diff := cmp.Diff([]string{"ret.0: nil"}, s.Unavailable); diff != "" {
		t.Errorf("results: %s", diff)
	}
}
