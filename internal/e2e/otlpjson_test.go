package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/jaegertest"
)

// The parts of OTLP's JSON that a span of uspan has. Written down here rather
// than taken from the library that wrote it, which would read its own mistakes.
type (
	tracesData struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []attribute }
			ScopeSpans []struct {
				Scope struct{ Name, Version string }
				Spans []otlpSpan
			}
		}
	}
	otlpSpan struct {
		TraceID, SpanID, ParentSpanID, Name string
		Kind                                int
		StartTimeUnixNano, EndTimeUnixNano  string
		Attributes                          []attribute
		Events                              []struct {
			TimeUnixNano, Name string
			Attributes         []attribute
		}
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

// readSpans reads a file of OTLP JSON lines, as Jaeger would tell its spans.
func readSpans(t *testing.T, path string) []jaegertest.Span {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var spans []jaegertest.Span
	for line := range bytes.Lines(text) {
		var data tracesData
		if err := json.Unmarshal(line, &data); err != nil {
			t.Fatalf("%s: %v\n%s", path, err, line)
		}
		for _, r := range data.ResourceSpans {
			resource := values(t, r.Resource.Attributes)
			delete(resource, "service.name") // has a field of its own there
			for _, s := range r.ScopeSpans {
				for _, span := range s.Spans {
					converted := span.jaeger(t)
					converted.Process = resource
					converted.Tags["otel.scope.name"] = s.Scope.Name
					converted.Tags["otel.scope.version"] = s.Scope.Version
					spans = append(spans, converted)
				}
			}
		}
	}
	return spans
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
		Tags:     values(t, s.Attributes),
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
	for _, e := range s.Events {
		fields := values(t, e.Attributes)
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
		if array, ok := value.([]any); ok {
			text, err := json.Marshal(array)
			if err != nil {
				t.Fatalf("attribute %s: %v", a.Key, err)
			}
			value = string(text)
		}
		values[a.Key] = value
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
