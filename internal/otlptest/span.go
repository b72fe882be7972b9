package otlptest

import (
	"encoding/hex"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// A Span is a span as it arrived, with everything that it is part of.
type Span struct {
	Name string
	// TraceID, ID and Parent are hexadecimal; Parent is empty for a root.
	TraceID, ID, Parent string
	Start, End          time.Time
	Kind                tracepb.Span_SpanKind
	Flags               uint32
	// Attributes have int64, float64, bool, string, or []any of them.
	Attributes map[string]any
	// DroppedAttributes is how many more there were.
	DroppedAttributes uint32
	Events            []Event
	Links             []Link
	Status            tracepb.Status_StatusCode
	StatusMessage     string

	Resource          map[string]any
	Scope             string
	ScopeVersion      string
	SchemaURL         string
	ResourceSchemaURL string
}

// An Event is an event of a span.
type Event struct {
	Name       string
	Time       time.Time
	Attributes map[string]any
}

// A Link is a link of a span.
type Link struct {
	TraceID, ID string
	Attributes  map[string]any
}

// flatten makes spans that stand for themselves out of a message.
func flatten(message []*tracepb.ResourceSpans) []Span {
	var spans []Span
	for _, resource := range message {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := flat(s)
				span.Resource = attributes(resource.GetResource().GetAttributes())
				span.ResourceSchemaURL = resource.GetSchemaUrl()
				span.Scope = scope.GetScope().GetName()
				span.ScopeVersion = scope.GetScope().GetVersion()
				span.SchemaURL = scope.GetSchemaUrl()
				spans = append(spans, span)
			}
		}
	}
	return spans
}

func flat(s *tracepb.Span) Span {
	span := Span{
		Name:              s.GetName(),
		TraceID:           hex.EncodeToString(s.GetTraceId()),
		ID:                hex.EncodeToString(s.GetSpanId()),
		Parent:            hex.EncodeToString(s.GetParentSpanId()),
		Start:             time.Unix(0, int64(s.GetStartTimeUnixNano())),
		End:               time.Unix(0, int64(s.GetEndTimeUnixNano())),
		Kind:              s.GetKind(),
		Flags:             s.GetFlags(),
		Attributes:        attributes(s.GetAttributes()),
		DroppedAttributes: s.GetDroppedAttributesCount(),
		Status:            s.GetStatus().GetCode(),
		StatusMessage:     s.GetStatus().GetMessage(),
	}
	for _, e := range s.GetEvents() {
		span.Events = append(span.Events, Event{
			Name:       e.GetName(),
			Time:       time.Unix(0, int64(e.GetTimeUnixNano())),
			Attributes: attributes(e.GetAttributes()),
		})
	}
	for _, l := range s.GetLinks() {
		span.Links = append(span.Links, Link{
			TraceID:    hex.EncodeToString(l.GetTraceId()),
			ID:         hex.EncodeToString(l.GetSpanId()),
			Attributes: attributes(l.GetAttributes()),
		})
	}
	return span
}

func attributes(list []*commonpb.KeyValue) map[string]any {
	m := make(map[string]any, len(list))
	for _, a := range list {
		m[a.GetKey()] = value(a.GetValue())
	}
	return m
}

func value(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_ArrayValue:
		values := make([]any, 0, len(v.ArrayValue.GetValues()))
		for _, element := range v.ArrayValue.GetValues() {
			values = append(values, value(element))
		}
		return values
	default:
		return nil
	}
}
