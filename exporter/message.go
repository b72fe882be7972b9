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
	return &tracepb.ResourceSpans{
		Resource:   &resourcepb.Resource{Attributes: keyValues(r.Attributes, -1)},
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
	attributes, dropped := e.limits.apply(s.Attributes())
	encoded.DroppedAttributesCount = dropped
	encoded.Attributes = keyValues(attributes, e.limits.length)
	if s.Link != nil {
		link := &tracepb.Span_Link{TraceId: s.Link.TraceID[:], SpanId: s.Link.ID[:], Flags: spanFlags}
		encoded.Links, encoded.DroppedLinksCount = within(e.limits.links, []*tracepb.Span_Link{link})
	}
	if s.Failed() {
		encoded.Status.Code = tracepb.Status_STATUS_CODE_ERROR
		encoded.Status.Message = text(s.Failure(), -1)
	}
	if s.Error != nil {
		encoded.Events, encoded.DroppedEventsCount = within(e.limits.events, []*tracepb.Span_Event{e.exception(s)})
	}
	return encoded
}

// exception is the event that the SDK's RecordError writes. A message that is
// not known is left out: the type alone satisfies the conventions.
func (e *encoder) exception(s *span.Span) *tracepb.Span_Event {
	attributes := []span.Attribute{{Key: string(semconv.ExceptionTypeKey), Value: s.Error.Type}}
	if s.Error.Message != "" {
		attributes = append(attributes,
			span.Attribute{Key: string(semconv.ExceptionMessageKey), Value: s.Error.Message})
	}
	attributes, dropped := within(e.limits.eventCount, attributes)
	return &tracepb.Span_Event{
		TimeUnixNano:           uint64(s.End.UnixNano()),
		Name:                   semconv.ExceptionEventName,
		Attributes:             keyValues(attributes, e.limits.length),
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

// keyValues are attributes as OTLP has them, strings cut to maxLength characters.
// All that they take is allocated at once: a span has a dozen.
func keyValues(attributes []span.Attribute, maxLength int) []*commonpb.KeyValue {
	type room struct {
		pair   commonpb.KeyValue
		value  commonpb.AnyValue
		text   commonpb.AnyValue_StringValue
		number commonpb.AnyValue_IntValue
	}
	rooms := make([]room, len(attributes))
	pairs := make([]*commonpb.KeyValue, len(attributes))
	for i, a := range attributes {
		r := &rooms[i]
		switch v := a.Value.(type) {
		case string:
			r.text.StringValue = text(v, maxLength)
			r.value.Value = &r.text
		case int64:
			r.number.IntValue = v
			r.value.Value = &r.number
		default:
			r.value.Value = anyValue(v, maxLength).Value
		}
		r.pair.Key, r.pair.Value = text(a.Key, -1), &r.value
		pairs[i] = &r.pair
	}
	return pairs
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
		return array(v, maxLength)
	case []int64:
		return array(v, maxLength)
	case []float64:
		return array(v, maxLength)
	case []bool:
		return array(v, maxLength)
	default:
		return anyValue(fmt.Sprint(v), maxLength)
	}
}

func array[T any](elements []T, maxLength int) *commonpb.AnyValue {
	values := make([]*commonpb.AnyValue, 0, len(elements))
	for _, element := range elements {
		values = append(values, anyValue(element, maxLength))
	}
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: values}}}
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
