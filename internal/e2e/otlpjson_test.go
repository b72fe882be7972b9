package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/uspan/uspan/internal/jaegertest"
	"github.com/uspan/uspan/internal/otlptest"
)

// The parts of OTLP's JSON that a span of uspan has. Written down here rather
// than taken from the library that wrote it, which would read its own mistakes.
type (
	resourceSpans struct {
		Resource   struct{ Attributes []attribute }
		SchemaURL  string
		ScopeSpans []scopeSpans
	}
	scopeSpans struct {
		Scope     struct{ Name, Version string }
		SchemaURL string
		Spans     []otlpSpan
	}
	otlpSpan struct {
		TraceID, SpanID, ParentSpanID, Name string
		Kind                                int
		Flags, DroppedAttributesCount       uint32
		StartTimeUnixNano, EndTimeUnixNano  string
		Attributes                          []attribute
		Events                              []struct {
			TimeUnixNano, Name string
			Attributes         []attribute
		}
		Links  []struct{ TraceID, SpanID string }
		Status struct {
			Code    int
			Message string
		}
	}
	attribute struct {
		Key   string
		Value anyValue
	}
	anyValue struct {
		StringValue *string
		IntValue    *string
		DoubleValue *float64
		BoolValue   *bool
		ArrayValue  *struct{ Values []anyValue }
	}
)

// readSpans reads a file of OTLP JSON lines, as Jaeger would tell its spans, with
// the name of the service among the attributes of the resource.
func readSpans(t *testing.T, path string) []jaegertest.Span {
	t.Helper()
	var spans []jaegertest.Span
	eachSpan(t, path, func(r resourceSpans, scope scopeSpans, s otlpSpan) {
		span := s.jaeger(t)
		span.Process = texts(t, r.Resource.Attributes)
		span.Tags["otel.scope.name"] = scope.Scope.Name
		span.Tags["otel.scope.version"] = scope.Scope.Version
		spans = append(spans, span)
	})
	return spans
}

// readExactly reads the same, as it has to arrive over OTLP.
func readExactly(t *testing.T, path string) []otlptest.Span {
	t.Helper()
	var spans []otlptest.Span
	eachSpan(t, path, func(r resourceSpans, scope scopeSpans, s otlpSpan) {
		span := s.exact(t)
		span.Resource, span.ResourceSchemaURL = values(t, r.Resource.Attributes), r.SchemaURL
		span.Scope, span.ScopeVersion, span.SchemaURL = scope.Scope.Name, scope.Scope.Version, scope.SchemaURL
		spans = append(spans, span)
	})
	return spans
}

func eachSpan(t *testing.T, path string, do func(resourceSpans, scopeSpans, otlpSpan)) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var data struct{ ResourceSpans []resourceSpans }
		if err := json.Unmarshal(line, &data); err != nil {
			t.Fatalf("%s: %v\n%s", path, err, line)
		}
		for _, r := range data.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				for _, span := range scope.Spans {
					do(r, scope, span)
				}
			}
		}
	}
}

// exact is the span without what it is part of.
func (s otlpSpan) exact(t *testing.T) otlptest.Span {
	t.Helper()
	span := otlptest.Span{
		Name:              s.Name,
		TraceID:           s.TraceID,
		ID:                s.SpanID,
		Parent:            s.ParentSpanID,
		Start:             nanoseconds(t, s.StartTimeUnixNano),
		End:               nanoseconds(t, s.EndTimeUnixNano),
		Kind:              tracepb.Span_SpanKind(s.Kind),
		Flags:             s.Flags,
		Attributes:        values(t, s.Attributes),
		DroppedAttributes: s.DroppedAttributesCount,
		Status:            tracepb.Status_StatusCode(s.Status.Code),
		StatusMessage:     s.Status.Message,
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, otlptest.Link{TraceID: l.TraceID, ID: l.SpanID, Attributes: map[string]any{}})
	}
	for _, e := range s.Events {
		span.Events = append(span.Events, otlptest.Event{
			Name: e.Name, Time: nanoseconds(t, e.TimeUnixNano), Attributes: values(t, e.Attributes),
		})
	}
	return span
}

// jaeger is the span as OpenTelemetry's specification of its transformation to
// Jaeger has it: https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger/
func (s otlpSpan) jaeger(t *testing.T) jaegertest.Span {
	t.Helper()
	start, end := nanoseconds(t, s.StartTimeUnixNano), nanoseconds(t, s.EndTimeUnixNano)
	span := jaegertest.Span{
		TraceID:  s.TraceID,
		ID:       s.SpanID,
		Parent:   s.ParentSpanID,
		Name:     s.Name,
		Start:    start.Truncate(time.Microsecond),
		Duration: end.Sub(start).Truncate(time.Microsecond),
		Tags:     texts(t, s.Attributes),
	}
	if kinds := []string{"", "internal", "server", "client", "producer", "consumer"}; s.Kind > 0 {
		span.Tags["span.kind"] = kinds[s.Kind]
	}
	const statusOK, statusError = 1, 2
	switch s.Status.Code {
	case statusOK:
		span.Tags["otel.status_code"] = "OK"
	case statusError:
		span.Tags["otel.status_code"] = "ERROR"
		span.Tags["error"] = true
	}
	if s.Status.Message != "" {
		span.Tags["otel.status_description"] = s.Status.Message
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, jaegertest.Link{TraceID: l.TraceID, ID: l.SpanID})
	}
	for _, e := range s.Events {
		fields := texts(t, e.Attributes)
		fields["event"] = e.Name
		at := nanoseconds(t, e.TimeUnixNano).Truncate(time.Microsecond)
		span.Events = append(span.Events, jaegertest.Event{Time: at, Fields: fields})
	}
	return span
}

func nanoseconds(t *testing.T, text string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("time %q: %v", text, err)
	}
	return time.Unix(0, n)
}

func values(t *testing.T, attributes []attribute) map[string]any {
	t.Helper()
	values := make(map[string]any, len(attributes))
	for _, a := range attributes {
		value, err := a.Value.value()
		if err != nil {
			t.Fatalf("attribute %s: %v", a.Key, err)
		}
		values[a.Key] = value
	}
	return values
}

// texts are values with arrays as text in JSON.
func texts(t *testing.T, attributes []attribute) map[string]any {
	t.Helper()
	values := values(t, attributes)
	for key, value := range values {
		if array, ok := value.([]any); ok {
			text, err := json.Marshal(array)
			if err != nil {
				t.Fatalf("attribute %s: %v", key, err)
			}
			values[key] = string(text)
		}
	}
	return values
}

func (v anyValue) value() (any, error) {
	switch {
	case v.StringValue != nil:
		return *v.StringValue, nil
	case v.IntValue != nil:
		return strconv.ParseInt(*v.IntValue, 10, 64)
	case v.DoubleValue != nil:
		return *v.DoubleValue, nil
	case v.BoolValue != nil:
		return *v.BoolValue, nil
	case v.ArrayValue != nil:
		array := []any{}
		for _, element := range v.ArrayValue.Values {
			value, err := element.value()
			if err != nil {
				return nil, err
			}
			array = append(array, value)
		}
		return array, nil
	}
	return nil, fmt.Errorf("no value of a known kind")
}
