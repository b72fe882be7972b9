package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/uspan/uspan/instrument/span"
)

// file is a file that fails as the test says.
type file struct {
	mu   sync.Mutex
	text bytes.Buffer
	// fail says how much of the next write is taken, and why not the rest.
	fail func(text []byte) (int, error)
	// tried has a token for each write.
	tried chan struct{}
}

func newFile() *file { return &file{tried: make(chan struct{}, 100)} }

func (f *file) Write(text []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.tried <- struct{}{} }()
	if f.fail == nil {
		return f.text.Write(text)
	}
	n, err := f.fail(text)
	f.text.Write(text[:n])
	return n, err
}

func (f *file) become(fail func(text []byte) (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func openJSON(t *testing.T, out *file, warn func(string)) *JSON {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
	return OpenJSON(out, JSONConfig{Version: "v1.2.3", Warn: warn})
}

func TestJSONLine(t *testing.T) {
	out := newFile()
	j := openJSON(t, out, func(w string) { t.Error(w) })
	j.Export([]*span.Span{failed(), {Resource: shop, Function: charge, Start: began}})
	if err := j.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	text := out.text.String()
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "}\n") {
		t.Fatalf("not one line: %s", text)
	}

	str := func(s string) any { return map[string]any{"stringValue": s} }
	integer := func(s string) any { return map[string]any{"intValue": s} }
	attribute := func(key string, value any) any { return map[string]any{"key": key, "value": value} }
	want := map[string]any{"resourceSpans": []any{map[string]any{
		"resource": map[string]any{"attributes": []any{
			attribute("service.name", str("shop")), attribute("process.pid", integer("7")),
		}},
		"schemaUrl": "https://opentelemetry.io/schemas/1.43.0",
		"scopeSpans": []any{map[string]any{
			"scope":     map[string]any{"name": "github.com/uspan/uspan", "version": "v1.2.3"},
			"schemaUrl": "https://opentelemetry.io/schemas/1.43.0",
			"spans": []any{map[string]any{
				"traceId":           "0a0102030405060708090a0b0c0d0eff",
				"spanId":            "0b010203040506fe",
				"parentSpanId":      "0c010203040506fd",
				"flags":             257.0,
				"name":              "pay.Charge",
				"kind":              1.0,
				"startTimeUnixNano": "1700000000123456789",
				"endTimeUnixNano":   "1700000000123458289",
				"attributes": []any{
					attribute("code.function.name", str("example.com/shop/pay.Charge")),
					attribute("code.file.path", str("/src/pay.go")),
					attribute("code.line.number", integer("42")),
					attribute("uspan.goroutine.id", integer("18")),
					attribute("uspan.thread.id", integer("4711")),
					attribute("uspan.arg.amount", integer("1299")),
					attribute("uspan.arg.big", str("9223372036854775808")),
					attribute("uspan.arg.now", map[string]any{"boolValue": true}),
					attribute("uspan.arg.to", str("a\uFFFDb")),
					attribute("uspan.arg.p", str("0xc0ffee")),
					attribute("uspan.ret.0", integer("0")),
					attribute("uspan.ret.err", str("card declined")),
					attribute("uspan.unavailable", map[string]any{"arrayValue": map[string]any{
						"values": []any{str("arg.rate: float in a register")},
					}}),
					attribute("error.type", str("*pay.Declined")),
				},
				"events": []any{map[string]any{
					"name":         "exception",
					"timeUnixNano": "1700000000123458289",
					"attributes": []any{
						attribute("exception.type", str("*pay.Declined")),
						attribute("exception.message", str("card declined")),
					},
				}},
				"status": map[string]any{"code": 2.0, "message": "card declined"},
			}},
		}},
	}}}
	var got any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

// The Collector's own reader gets the spans back, from lines below its limit.
func TestJSONReadBack(t *testing.T) {
	out := newFile()
	j := openJSON(t, out, func(w string) { t.Error(w) })
	var spans []*span.Span
	for i := range 3000 {
		s := failed()
		// Control characters take six characters each in JSON.
		s.Args = []span.Value{{Name: "i", Value: int64(i)}, {Name: "s", Value: strings.Repeat("\x01", 128)}}
		spans = append(spans, s)
	}
	j.Export(spans)
	if err := j.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	n := 0
	for line := range bytes.Lines(out.text.Bytes()) {
		if len(line) > 1<<20 {
			t.Errorf("a line has %d bytes", len(line))
		}
		traces, err := (&ptrace.JSONUnmarshaler{DisallowUnknownFields: true}).UnmarshalTraces(line)
		if err != nil {
			t.Fatal(err)
		}
		read := traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
		for i := range read.Len() {
			s := read.At(i)
			if v, _ := s.Attributes().Get("uspan.arg.i"); v.Int() != int64(n) {
				t.Fatalf("span %d has i = %d", n, v.Int())
			}
			if s.TraceID() != [16]byte(traceID) || s.Kind() != ptrace.SpanKindInternal ||
				s.Status().Code() != ptrace.StatusCodeError {
				t.Fatalf("span %d: trace %s, kind %s, status %s", n, s.TraceID(), s.Kind(), s.Status().Code())
			}
			n++
		}
	}
	if n != 3000 || j.Stats().Exported != 3000 {
		t.Errorf("%d spans read, %+v, want 3000", n, j.Stats())
	}
}

// A full disk is reported once and counted; when there is room again, the
// lines behind the torn one are whole.
func TestJSONWriteError(t *testing.T) {
	out := newFile()
	out.become(func(text []byte) (int, error) { return len(text) / 2, syscall.ENOSPC })
	var warnings []string
	j := openJSON(t, out, func(w string) { warnings = append(warnings, w) })
	j.Export([]*span.Span{failed(), failed()})
	<-out.tried
	j.Export([]*span.Span{failed()})
	<-out.tried
	out.become(nil)
	j.Export([]*span.Span{failed()})
	if err := j.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	stats := j.Stats()
	if stats.Exported != 1 || len(stats.Lost) != 1 ||
		stats.Lost[0] != (Loss{WriteFailed, 3, "no space left on device"}) {
		t.Errorf("stats %+v", stats)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "json: 2 spans lost (write failed): no space left on device") {
		t.Errorf("warnings %q", warnings)
	}
	lines := strings.Split(strings.TrimSuffix(out.text.String(), "\n"), "\n")
	if _, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces([]byte(lines[len(lines)-1])); err != nil {
		t.Errorf("the last line: %v", err)
	}
}

// A pipe that nobody reads does not hold Shutdown up.
func TestJSONBlockedWriter(t *testing.T) {
	out, until := newFile(), make(chan struct{})
	out.become(func([]byte) (int, error) { <-until; return 0, errors.New("too late") })
	j := openJSON(t, out, func(string) {})
	j.Export([]*span.Span{failed()})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := j.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 span not sent") {
		t.Errorf("Shutdown: %v", err)
	}
	close(until)
	<-j.batcher.done
	if s := j.Stats(); s.LostSpans() != 1 || s.Lost[0].Cause != Unsent {
		t.Errorf("stats %+v", s)
	}
}

func BenchmarkJSON(b *testing.B) {
	spans := failures(500)
	e := newEncoder("v1", limits{128, -1, -1, -1, -1})
	for b.Loop() {
		message, _ := e.encode(spans, maxRequest)
		if _, err := jsonLine(message); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/span")
}
