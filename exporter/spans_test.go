package exporter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/otlptest"
)

var (
	began   = time.Unix(1_700_000_000, 123_456_789)
	shop    = &span.Resource{Attributes: []span.Attribute{{Key: "service.name", Value: "shop"}, {Key: "process.pid", Value: int64(7)}}}
	worker  = &span.Resource{Attributes: []span.Attribute{{Key: "service.name", Value: "worker"}}}
	charge  = &span.Function{Name: "pay.Charge", FullName: "example.com/shop/pay.Charge", File: "/src/pay.go", Line: 42}
	traceID = span.TraceID{0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}
	spanID  = span.ID{0x0b, 1, 2, 3, 4, 5, 6, 0xfe}
	parent  = span.ID{0x0c, 1, 2, 3, 4, 5, 6, 0xfd}
)

// failed is a span with one of everything.
func failed() *span.Span {
	declined := &span.Error{Type: "*pay.Declined", Message: "card declined"}
	return &span.Span{
		Resource: shop, Function: charge,
		TraceID: traceID, ID: spanID, Parent: parent,
		Start: began, End: began.Add(1500 * time.Nanosecond),
		Goroutine: 18, Thread: 4711, Values: true,
		Args: []span.Value{
			{Name: "amount", Value: int64(1299)}, {Name: "big", Value: uint64(1 << 63)},
			{Name: "now", Value: true}, {Name: "to", Value: "a\xffb"}, {Name: "p", Value: span.Pointer(0xc0ffee)},
			{Name: "rate", Note: "float in a register"},
		},
		Results:     []span.Value{{Name: "0", Value: int64(0)}, {Name: "err", Value: declined}},
		Unavailable: []string{"arg.rate: float in a register"},
		Error:       declined,
	}
}

func TestSpanOnTheWire(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		o := open(t, receiver)
		root := &span.Span{
			Resource: worker, Function: &span.Function{Name: "main.f", FullName: "main.f"},
			TraceID: traceID, ID: parent, Start: began, End: began.Add(time.Second),
			Error: &span.Error{Type: "*fs.PathError"}, Incomplete: span.Unwound,
		}
		o.Export([]*span.Span{failed(), root, {Resource: shop, Function: charge, Start: began}})
		shutdown(t, o)

		want := []otlptest.Span{
			{
				Name:    "pay.Charge",
				TraceID: "0a0102030405060708090a0b0c0d0eff", ID: "0b010203040506fe", Parent: "0c010203040506fd",
				Start: began, End: began.Add(1500 * time.Nanosecond),
				Kind: tracepb.Span_SPAN_KIND_INTERNAL, Flags: 0x101,
				Attributes: map[string]any{
					"code.function.name": "example.com/shop/pay.Charge", "code.file.path": "/src/pay.go", "code.line.number": int64(42),
					"uspan.goroutine.id": int64(18), "uspan.thread.id": int64(4711),
					"uspan.arg.amount": int64(1299), "uspan.arg.big": "9223372036854775808", "uspan.arg.now": true,
					"uspan.arg.to": "a\uFFFDb", "uspan.arg.p": "0xc0ffee",
					"uspan.ret.0": int64(0), "uspan.ret.err": "card declined",
					"uspan.unavailable": []any{"arg.rate: float in a register"}, "error.type": "*pay.Declined",
				},
				Status: tracepb.Status_STATUS_CODE_ERROR, StatusMessage: "card declined",
				Events: []otlptest.Event{{
					Name: "exception", Time: began.Add(1500 * time.Nanosecond),
					Attributes: map[string]any{"exception.type": "*pay.Declined", "exception.message": "card declined"},
				}},
				Resource: map[string]any{"service.name": "shop", "process.pid": int64(7)},
				Scope:    "github.com/uspan/uspan", ScopeVersion: "v1.2.3",
				SchemaURL:         "https://opentelemetry.io/schemas/1.43.0",
				ResourceSchemaURL: "https://opentelemetry.io/schemas/1.43.0",
			},
			{
				Name:    "main.f",
				TraceID: "0a0102030405060708090a0b0c0d0eff", ID: "0c010203040506fd",
				Start: began, End: began.Add(time.Second),
				Kind: tracepb.Span_SPAN_KIND_INTERNAL, Flags: 0x101,
				Attributes: map[string]any{
					"code.function.name": "main.f", "uspan.goroutine.id": int64(0), "uspan.thread.id": int64(0),
					"error.type": "*fs.PathError", "uspan.incomplete": "unwound",
				},
				Status: tracepb.Status_STATUS_CODE_ERROR, StatusMessage: "*fs.PathError",
				Events: []otlptest.Event{{
					Name: "exception", Time: began.Add(time.Second), Attributes: map[string]any{"exception.type": "*fs.PathError"},
				}},
				Resource: map[string]any{"service.name": "worker"},
				Scope:    "github.com/uspan/uspan", ScopeVersion: "v1.2.3",
				SchemaURL:         "https://opentelemetry.io/schemas/1.43.0",
				ResourceSchemaURL: "https://opentelemetry.io/schemas/1.43.0",
			},
		}
		if diff := cmp.Diff(want, receiver.Spans()); diff != "" {
			t.Errorf("received (-want +got):\n%s", diff)
		}
	})
}

// Spans of one process share a resource, however they are mixed.
func TestOneResourceForEachProcess(t *testing.T) {
	e := newEncoder("", limits{-1, -1, -1, -1, -1})
	var spans []*span.Span
	for i := range 10 {
		s := failed()
		if i%2 == 1 {
			s.Resource = worker
		}
		spans = append(spans, s)
	}
	message, n := e.encode(spans, 1<<20)
	if n != 10 || len(message) != 2 {
		t.Fatalf("%d spans in %d resources, want 10 in 2", n, len(message))
	}
	for _, resource := range message {
		if got := len(resource.GetScopeSpans()[0].GetSpans()); got != 5 {
			t.Errorf("%d spans in %v", got, resource.GetResource())
		}
	}
}

func TestLimits(t *testing.T) {
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "10")
	t.Setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4")
	receiver := otlptest.Start(t)
	o := open(t, receiver)
	s := failed()
	s.Args = []span.Value{{Name: "short", Value: "äöüß"}, {Name: "long", Value: "äöüßx"}}
	o.Export([]*span.Span{s})
	shutdown(t, o)
	got := receiver.WaitSpans(1)[0]
	want := map[string]any{
		"code.function.name": "exam", "code.file.path": "/src", "code.line.number": int64(42),
		"uspan.goroutine.id": int64(18), "uspan.thread.id": int64(4711),
		"uspan.arg.short": "äöüß", "uspan.arg.long": "äöüß",
		"uspan.unavailable": []any{"arg."}, "uspan.truncated": []any{"arg.", "ret.", "valu"}, "error.type": "*pay",
	}
	if diff := cmp.Diff(want, got.Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if got.DroppedAttributes != 2 {
		t.Errorf("%d attributes dropped, want 2", got.DroppedAttributes)
	}
	if got.Resource["service.name"] != "shop" {
		t.Errorf("resource %v: the limits are not for it", got.Resource)
	}
	if got.Events[0].Attributes["exception.message"] != "card" {
		t.Errorf("event %v", got.Events[0])
	}
}

func TestEventLimits(t *testing.T) {
	for _, test := range []struct {
		limits                       limits
		events, attributes           int
		droppedEvents, droppedOfThem uint32
	}{
		{limits{-1, -1, -1, -1, -1}, 1, 2, 0, 0},
		{limits{-1, -1, 1, -1, 1}, 1, 1, 0, 1},
		{limits{-1, -1, 128, -1, 0}, 1, 0, 0, 2},
		{limits{-1, -1, 0, -1, 128}, 0, 0, 1, 0},
	} {
		s := newEncoder("", test.limits).span(failed())
		if len(s.GetEvents()) != test.events || s.GetDroppedEventsCount() != test.droppedEvents {
			t.Errorf("%+v: %d events, %d dropped", test.limits, len(s.GetEvents()), s.GetDroppedEventsCount())
		}
		for _, e := range s.GetEvents() {
			if len(e.GetAttributes()) != test.attributes || e.GetDroppedAttributesCount() != test.droppedOfThem {
				t.Errorf("%+v: event %v", test.limits, e)
			}
		}
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		in     string
		length int
		want   string
	}{
		{"abc", -1, "abc"}, {"abc", 3, "abc"}, {"abc", 2, "ab"}, {"abc", 0, ""}, {"", 0, ""},
		{"äöü", 2, "äö"}, {"äöü", 3, "äöü"}, {"a\xff\xfeb", -1, "a\uFFFDb"}, {"\xff", 1, "\uFFFD"},
	}
	for _, test := range tests {
		if got := text(test.in, test.length); got != test.want {
			t.Errorf("text(%q, %d) = %q, want %q", test.in, test.length, got, test.want)
		}
	}
}

// Requests stay below what servers receive, and a span that alone is larger
// does not stop the others.
func TestLargeSpans(t *testing.T) {
	receiver := otlptest.Start(t)
	o := open(t, receiver)
	var spans []*span.Span
	for i := range 20 {
		s := failed()
		size := 500_000
		if i == 10 {
			size = 5_000_000
		}
		s.Args = []span.Value{{Name: "n", Value: int64(i)}, {Name: "body", Value: strings.Repeat("x", size)}}
		spans = append(spans, s)
	}
	o.Export(spans)
	shutdown(t, o)
	seen := make(map[string]bool)
	for _, s := range receiver.Spans() {
		seen[fmt.Sprint(s.Attributes["uspan.arg.n"])] = true
	}
	if len(seen) != 19 || seen["10"] {
		t.Errorf("received %d of the 19 spans that are small enough", len(seen))
	}
	for _, request := range receiver.Requests() {
		if request.Bytes > maxRequest {
			t.Errorf("a request has %d bytes", request.Bytes)
		}
	}
	stats := o.Stats()
	if stats.Exported != 19 || stats.LostSpans() != 1 || !strings.Contains(stats.Lost[0].Reason, "larger than max") {
		t.Errorf("stats %+v", stats)
	}
}
