package exporter

import (
	"fmt"
	"strings"
	"unicode/utf8"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/uspan/uspan/instrument/span"
)

// scopeName is the instrumentation scope of every span.
const scopeName = "github.com/uspan/uspan"

// spanFlags say that the trace is sampled (1), and that the parent is known
// not to be remote (0x100 without 0x200), as the SDK sets them.
const spanFlags = 1 | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)

// An encoder turns spans into the messages of OTLP.
type encoder struct {
	scope  *commonpb.InstrumentationScope
	limits limits
}

func newEncoder(version string, limits limits) *encoder {
	return &encoder{&commonpb.InstrumentationScope{Name: scopeName, Version: version}, limits}
}

// encode is the message for as many of the leading spans as have room in
// maxBytes, always at least one, and their number. Spans of one process share
// one resource.
func (e *encoder) encode(spans []*span.Span, maxBytes int) (message []*tracepb.ResourceSpans, n int) {
	const framing = 16 // tags and lengths of a span and of what surrounds it
	scopes := make(map[*span.Resource]*tracepb.ScopeSpans, 1)
	size := 0
	for _, s := range spans {
		encoded := e.span(s)
		size += proto.Size(encoded) + framing
		scope := scopes[s.Resource]
		var fresh *tracepb.ResourceSpans
		if scope == nil {
			fresh = e.resource(s.Resource)
			scope = fresh.ScopeSpans[0]
			size += proto.Size(fresh) + framing
		}
		if size > maxBytes && n > 0 {
			break
		}
		if fresh != nil {
			scopes[s.Resource] = scope
			message = append(message, fresh)
		}
		scope.Spans = append(scope.Spans, encoded)
		n++
	}
	return message, n
}

// resource is the message of a process, with a place for its spans.
func (e *encoder) resource(r *span.Resource) *tracepb.ResourceSpans {
	attributes := make([]*commonpb.KeyValue, 0, len(r.Attributes))
	for _, a := range r.Attributes {
		attributes = append(attributes, keyValue(a.Key, a.Value, -1))
	}
	return &tracepb.ResourceSpans{
		Resource:   &resourcepb.Resource{Attributes: attributes},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: e.scope, SchemaUrl: semconv.SchemaURL}},
		SchemaUrl:  semconv.SchemaURL,
	}
}

func (e *encoder) span(s *span.Span) *tracepb.Span {
	encoded := &tracepb.Span{
		TraceId:           s.TraceID[:],
		SpanId:            s.ID[:],
		Name:              text(s.Function.Name, -1),
		Kind:              tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(s.Start.UnixNano()),
		EndTimeUnixNano:   uint64(s.End.UnixNano()),
		Flags:             spanFlags,
		Status:            &tracepb.Status{},
	}
	if s.Parent != (span.ID{}) {
		encoded.ParentSpanId = s.Parent[:]
	}
	attributes, dropped := within(e.limits.count, s.Attributes())
	encoded.DroppedAttributesCount = dropped
	encoded.Attributes = make([]*commonpb.KeyValue, 0, len(attributes))
	for _, a := range attributes {
		encoded.Attributes = append(encoded.Attributes, keyValue(a.Key, a.Value, e.limits.length))
	}
	if s.Error != nil {
		encoded.Status.Code = tracepb.Status_STATUS_CODE_ERROR
		encoded.Status.Message = text(s.Error.String(), -1)
		encoded.Events, encoded.DroppedEventsCount = within(e.limits.events, []*tracepb.Span_Event{e.exception(s)})
	}
	return encoded
}

// exception is the event that the SDK's RecordError writes. A message that is
// not known is left out: the type alone satisfies the conventions.
func (e *encoder) exception(s *span.Span) *tracepb.Span_Event {
	attributes := []*commonpb.KeyValue{
		keyValue(string(semconv.ExceptionTypeKey), s.Error.Type, e.limits.length),
	}
	if s.Error.Message != "" {
		attributes = append(attributes,
			keyValue(string(semconv.ExceptionMessageKey), s.Error.Message, e.limits.length))
	}
	attributes, dropped := within(e.limits.eventCount, attributes)
	return &tracepb.Span_Event{
		TimeUnixNano:           uint64(s.End.UnixNano()),
		Name:                   semconv.ExceptionEventName,
		Attributes:             attributes,
		DroppedAttributesCount: dropped,
	}
}

// within is the first of list that a limit allows, and how many it does not. A
// negative limit is none.
func within[T any](limit int, list []T) (first []T, dropped uint32) {
	if limit < 0 || len(list) <= limit {
		return list, 0
	}
	return list[:limit], uint32(len(list) - limit)
}

func keyValue(key string, value any, maxLength int) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: text(key, -1), Value: anyValue(value, maxLength)}
}

func anyValue(value any, maxLength int) *commonpb.AnyValue {
	switch v := value.(type) {
	case string:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: text(v, maxLength)}}
	case int64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}
	case float64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case []string:
		values := make([]*commonpb.AnyValue, 0, len(v))
		for _, s := range v {
			values = append(values, anyValue(s, maxLength))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{
			ArrayValue: &commonpb.ArrayValue{Values: values},
		}}
	default:
		return anyValue(fmt.Sprint(v), maxLength)
	}
}

// text is s as protobuf takes it, which refuses a message for one byte that is
// not UTF-8, cut to maxLength characters where that is not negative.
func text(s string, maxLength int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if maxLength < 0 || len(s) <= maxLength {
		return s
	}
	for i := range s {
		if maxLength == 0 {
			return s[:i]
		}
		maxLength--
	}
	return s
}
