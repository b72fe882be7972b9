package config

import (
	"cmp"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile("../../../docs/uspan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s := new(jsonschema.Schema)
	if err := json.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// The schema has the keys of File, with their types, and no others.
func TestSchema(t *testing.T) {
	s := schema(t)
	compareSchema(t, "", s, reflect.TypeFor[File]())
	limit := s.Properties["limits"].Properties
	bounds := func(key string, least, most int) {
		p := cmp.Or(s.Properties[key], limit[key])
		if p == nil || *p.Minimum != float64(least) || *p.Maximum != float64(most) {
			t.Errorf("%s: the bounds are %d and %d", key, least, most)
		}
	}
	bounds("string-bytes", 1, plan.MaxStringBytes)
	bounds("items", 1, plan.MaxItems)
	bounds("event-bytes", instrument.MinEventBytes, instrument.MaxEventBytes)
	bounds("attributes", 0, maxAttributes)
	bounds("capture-depth", 1, plan.MaxDepth)
	bounds("max-open-calls", instrument.MinOpenCalls, instrument.MostOpenCalls)
}

func compareSchema(t *testing.T, path string, s *jsonschema.Schema, typ reflect.Type) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := map[reflect.Type]string{
		reflect.TypeFor[Text](): "string", reflect.TypeFor[Duration](): "string", reflect.TypeFor[Number](): "integer",
		reflect.TypeFor[Switch](): "boolean", reflect.TypeFor[[]Attribute](): "object",
	}[typ]
	switch {
	case want != "":
	case typ.Kind() == reflect.Slice:
		want = "array"
		if s.Items == nil {
			t.Errorf("%s: its elements are not described", path)
			return
		}
		compareSchema(t, path+"[]", s.Items, typ.Elem())
	default:
		want = "object"
		keys := keysOf(typ)
		inSchema := make([]string, 0, len(s.Properties))
		for key := range s.Properties {
			inSchema = append(inSchema, key)
		}
		slices.Sort(inSchema)
		if diff := gocmp.Diff(slices.Sorted(slices.Values(keys)), inSchema); diff != "" {
			t.Errorf("%s: keys of the file and of the schema: %s", path, diff)
			return
		}
		if s.AdditionalProperties == nil || s.AdditionalProperties.Not == nil {
			t.Errorf("%s: it allows other keys", path)
		}
		for _, key := range keys {
			compareSchema(t, path+"."+key, s.Properties[key], fieldOf(reflect.New(typ).Elem(), key).Type())
		}
	}
	if s.Type != want {
		t.Errorf("%s: %s in the schema, %s in the file", path, s.Type, want)
	}
	if s.Description == "" && path != "" && path[len(path)-1] != ']' {
		t.Errorf("%s: no description", path)
	}
}

// valid says whether the schema takes a file.
func valid(t *testing.T, resolved *jsonschema.Resolved, file string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return resolved.Validate(value)
}

// What the schema takes and refuses is what uspan takes and refuses.
func TestSchemaAgrees(t *testing.T) {
	resolved, err := schema(t).Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		"func: [main.*]\ncapture-depth: 2\nresource: {team: a}\nfor: 1m\nforce: true\n",
		"limits: {string-bytes: 1024, items: 1, event-bytes: 256, attributes: 0, attribute-length: 5}\nsecrets: {add: ['*pin'], remove: [token]}\n",
		"functions:\n- match: main.f\n  signature: func(u User)\n  capture: {id: u.ID}\ntypes:\n- type User struct { ID int }\n",
	} {
		if _, err := Parse("f", []byte(file)); err != nil {
			t.Error(err)
		}
		if err := valid(t, resolved, file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, file := range []string{
		"capure: auto\n", "capture: all\n", "capture-depth: 9\n", "capture-depth: '2'\n", "capture-depth: 1.5\n", "capture-depth: null\n",
		"func: main.f\n", "func: [5]\n", "func: ['']\n", "force: 1\n", "resource: {team: 5}\n", "functions: [{signature: func()}]\n",
		"functions: [{match: f, signatur: func()}]\n", "functions: [{match: f, capture: {a: 5}}]\n", "max-open-calls: 1\n", "max-trace-spans: -1\n", "for: 10\n",
		"limits: {string-bytes: 1025}\n", "limits: {items: 0}\n", "limits: {event-bytes: 4096}\n", "limits: {attributes: -1}\n", "secrets: {add: ['']}\n",
		"secrets: [token]\n", "limits: {bytes: 5}\n",
	} {
		if _, err := Parse("f", []byte(file)); err == nil {
			t.Errorf("uspan takes %s", file)
		}
		if err := valid(t, resolved, file); err == nil {
			t.Errorf("the schema takes %s", file)
		}
	}
}
