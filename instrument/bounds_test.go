package instrument_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// boundedValues traces functions of testdata/values by rules, and returns their spans
// by name.
func boundedValues(t *testing.T, config instrument.Config, functions ...string) (map[string]*span.Span, *instrument.Summary) {
	t.Helper()
	exe := testprog.Build(t, valuesProgram, testprog.Options{})
	kerneltest.Require(t)
	config.Rules.Values = true
	for _, name := range functions {
		config.Rules.Patterns = append(config.Rules.Patterns, "main."+name)
	}
	spans, summary, _ := trace(t, config, target.Command{Path: exe})
	byName := make(map[string]*span.Span)
	for _, s := range spans {
		byName[strings.TrimPrefix(s.Function.Name, "main.")] = s
	}
	for _, name := range functions {
		if byName[name] == nil {
			t.Fatalf("no call of %s", name)
		}
	}
	return byName, summary
}

// Bounds of values are those of the rules, at their ends too, and what is cut is
// said.
func TestBounds(t *testing.T) {
	for _, test := range []struct {
		config          instrument.Config
		text, list      int
		said, missing   []string
		missingFromText bool
	}{
		{instrument.Config{Rules: plan.Rules{StringBytes: 1, Items: 1}}, 1, 1, []string{"arg.long: 1 of 300 bytes", "arg.long: 1 of 120"}, nil, false},
		{instrument.Config{}, 128, 16, []string{"arg.long: 128 of 300 bytes", "arg.long: 16 of 120"}, nil, false},
		{instrument.Config{Rules: plan.Rules{StringBytes: plan.MaxStringBytes, Items: plan.MaxItems}}, 300, 120, nil, nil, false},
		{instrument.Config{Rules: plan.Rules{StringBytes: plan.MaxStringBytes, Items: plan.MaxItems}, EventBytes: instrument.MinEventBytes}, 300, 120, nil,
			[]string{"no room left in the event"}, true},
	} {
		spans, _ := boundedValues(t, test.config, "stringsOf", "slices", "maps")
		text, list := spans["stringsOf"], spans["slices"]
		if got, _ := text.Args[2].Value.(string); len(got) != test.text && (!test.missingFromText || text.Args[2].Note == "") {
			t.Errorf("%+v: %d bytes of text: %q", test.config, len(got), text.Args[2].Note)
		}
		if got, _ := list.Args[6].Value.([]int64); len(got) != test.list && (!test.missingFromText || list.Args[6].Note == "") {
			t.Errorf("%+v: %d elements: %q", test.config, len(got), list.Args[6].Note)
		}
		said := slices.Concat(text.Truncated, list.Truncated)
		for _, want := range test.said {
			if !slices.Contains(said, want) {
				t.Errorf("%+v: %q is not said, but %q", test.config, want, said)
			}
		}
		missing := strings.Join(slices.Concat(text.Unavailable, list.Unavailable, spans["maps"].Unavailable), "\n")
		for _, want := range test.missing {
			if !strings.Contains(missing, want) {
				t.Errorf("%+v: %q is not said, but %q", test.config, want, missing)
			}
		}
	}
}

// What the rules call a secret is not read: the second half of what main.torn is
// passed cannot be, and nobody tries. Keys of maps are judged by the same names.
func TestSecretsOfRules(t *testing.T) {
	names := func(values ...string) (list []plan.Text) {
		for _, value := range values {
			list = append(list, plan.Text{Value: value})
		}
		return list
	}
	rules := plan.Rules{Secrets: plan.SecretRules{Add: names("tries", "last", "two", "*ld"), Remove: names("token", "authorization")}}
	spans, summary := boundedValues(t, instrument.Config{Rules: rules}, "torn", "maps", "pointers", "secretMaps")
	torn := spans["torn"]
	if len(torn.Unavailable) > 0 || summary.Lost.Unreadable > 0 {
		t.Errorf("unavailable: %q, %d reads failed", torn.Unavailable, summary.Lost.Unreadable)
	}
	if want := []string{"arg.p.APIKey", "arg.p.Tries", "arg.p.Secret", "arg.p.Last"}; !slices.Equal(torn.Redacted, want) {
		t.Errorf("redacted: %q, want %q", torn.Redacted, want)
	}
	values := make(map[string]any)
	for _, name := range []string{"torn", "maps", "pointers", "secretMaps"} {
		for _, a := range spans[name].Attributes() {
			values[name+" "+strings.TrimPrefix(a.Key, "uspan.arg.")] = a.Value
		}
	}
	for key, want := range map[string]any{
		"torn p.User": "eve", `maps m["one"]`: int64(1), `maps m["two"]`: nil, "pointers u.Token": "t",
		`secretMaps m["Authorization"]`: "Bearer 1", `secretMaps m["userTokens"]`: nil, `secretMaps m["user"]`: "eve", `secretMaps n["otp"]`: nil,
	} {
		if values[key] != want {
			t.Errorf("%s = %v, want %v", key, values[key], want)
		}
	}
}
