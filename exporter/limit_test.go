package exporter

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/span"
)

// Captured values go first where there are too many attributes, and what is cut
// is said.
func TestWhatIsCutIsSaid(t *testing.T) {
	all := []span.Attribute{
		{Key: "code.function.name", Value: "main.function"}, {Key: "uspan.arg.a", Value: "aaaa"}, {Key: "uspan.arg.b", Value: int64(1)},
		{Key: "uspan.ret.0", Value: "äöüß"}, {Key: "error.type", Value: "*E"},
	}
	truncated := span.Attribute{Key: "uspan.truncated", Value: []string{"arg.a: 4 of 9 bytes"}}
	said := func(texts ...string) span.Attribute { return span.Attribute{Key: "uspan.truncated", Value: texts} }
	before := append(all[:len(all):len(all)], truncated)
	for _, test := range []struct {
		name    string
		limits  limits
		all     []span.Attribute
		want    []span.Attribute
		dropped uint32
	}{
		{"none", limits{count: -1, length: -1}, all, all, 0},
		{"fits", limits{count: 5, length: 4}, all, all, 0},
		{"length", limits{count: -1, length: 3}, all,
			append(all[:5:5], said("arg.a: 3 of 4 characters", "ret.0: 3 of 4 characters")), 0},
		{"length, with what was cut before", limits{count: 6, length: 3}, before,
			append(all[:5:5], said("arg.a: 4 of 9 bytes", "arg.a: 3 of 4 characters", "ret.0: 3 of 4 characters")), 0},
		{"count", limits{count: 4, length: -1}, all,
			[]span.Attribute{all[0], all[1], all[4], said("values: 1 of 3 attributes")}, 2},
		{"count, with what was cut before", limits{count: 5, length: -1}, before,
			[]span.Attribute{all[0], all[1], all[2], all[4], said("arg.a: 4 of 9 bytes", "values: 2 of 3 attributes")}, 1},
		{"no values", limits{count: 3, length: -1}, all, []span.Attribute{all[0], all[4], said("values: 0 of 3 attributes")}, 3},
		{"no room to say it", limits{count: 2, length: -1}, all, all[:2], 3},
		{"nothing", limits{count: 0, length: -1}, all, all[:0], 5},
	} {
		got, dropped := test.limits.apply(test.all)
		if diff := cmp.Diff(test.want, got); diff != "" || dropped != test.dropped {
			t.Errorf("%s: %d dropped, want %d: %s", test.name, dropped, test.dropped, diff)
		}
	}
	if diff := cmp.Diff([]string{"arg.a: 4 of 9 bytes"}, before[5].Value); diff != "" {
		t.Errorf("a span was changed: %s", diff)
	}
}

// What is set wins over the environment.
func TestLimitsWin(t *testing.T) {
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "9")
	t.Setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")
	count, length := 7, 0
	environment := limitsFromEnvironment(func(string) {})
	if got := (Limits{}).over(environment); got.count != 9 || got.length != 8 {
		t.Errorf("%+v", got)
	}
	if got := (Limits{Attributes: &count, AttributeLength: &length}).over(environment); got.count != 7 || got.length != 0 {
		t.Errorf("%+v", got)
	}
}

// A root that a rule made links to the call that it comes from.
func TestLink(t *testing.T) {
	s := failed()
	s.Parent, s.Link = span.ID{}, &span.Link{TraceID: traceID, ID: parent}
	encoded := newEncoder("", limits{-1, -1, -1, -1, -1}).span(s)
	if len(encoded.Links) != 1 || !bytes.Equal(encoded.Links[0].TraceId, traceID[:]) || !bytes.Equal(encoded.Links[0].SpanId, parent[:]) {
		t.Errorf("links %v", encoded.Links)
	}
	encoded = newEncoder("", limits{-1, -1, -1, 0, -1}).span(s)
	if len(encoded.Links) != 0 || encoded.DroppedLinksCount != 1 {
		t.Errorf("links %v, %d dropped", encoded.Links, encoded.DroppedLinksCount)
	}
}
