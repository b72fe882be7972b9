package exporter

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/internal/otlptest"
)

// messages collects warnings.
type messages struct {
	mu    sync.Mutex
	texts []string
	// heard has a token for each.
	heard chan struct{}
}

func newMessages() *messages { return &messages{heard: make(chan struct{}, 100)} }

func (m *messages) warn(text string) {
	m.mu.Lock()
	m.texts = append(m.texts, text)
	m.mu.Unlock()
	m.heard <- struct{}{}
}

func (m *messages) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.texts)
}

// open opens an exporter to receiver whose warnings fail the test.
func open(t *testing.T, receiver *otlptest.Receiver) *OTLP {
	t.Helper()
	return openWarning(t, receiver.Endpoint(), func(w string) { t.Logf("warning: %s", w) })
}

func openWarning(t *testing.T, endpoint string, warn func(string)) *OTLP {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
	o, err := OpenOTLP(OTLPConfig{Endpoint: endpoint, Version: "v1.2.3", Warn: warn})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// shutdown ends an exporter that has nothing left over.
func shutdown(t *testing.T, o *OTLP) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := o.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// overBoth runs a test with a receiver of each protocol.
func overBoth(t *testing.T, test func(t *testing.T, receiver *otlptest.Receiver)) {
	t.Helper()
	for name, config := range map[string]otlptest.Config{"grpc": {}, "http": {HTTP: true}} {
		t.Run(name, func(t *testing.T) { test(t, config.Start(t)) })
	}
}

// failures are n spans with ids of their own.
func failures(n int) []*span.Span {
	spans := make([]*span.Span, n)
	for i := range spans {
		spans[i] = failed()
		binary.NativeEndian.PutUint64(spans[i].ID[:], rand.Uint64())
	}
	return spans
}

// An endpoint that is away from the start, comes, goes and comes back gets
// everything, and is spoken of twice each time.
func TestEndpointAway(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		receiver.Down()
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		for range 2 {
			o.Export(failures(100))
			<-said.heard
			o.Export(failures(50))
			receiver.Up()
			<-said.heard
			receiver.Down()
		}
		receiver.Up()
		shutdown(t, o)
		// Where the connection was cut before the answer, spans come twice.
		ids := make(map[string]bool)
		for _, s := range receiver.Spans() {
			ids[s.ID] = true
		}
		if len(ids) != 300 {
			t.Errorf("received %d, want 300", len(ids))
		}
		if s := o.Stats(); s.Exported != 300 || s.LostSpans() != 0 {
			t.Errorf("stats %+v", s)
		}
		texts := said.list()
		if len(texts) < 4 || !strings.HasPrefix(texts[0], receiver.Endpoint()+" is away: dial tcp 127.0.0.1:") ||
			!strings.Contains(texts[0], "connection refused; up to 65536 spans are kept") || texts[1] != receiver.Endpoint()+" is back" {
			t.Errorf("messages %q", texts)
		}
	})
}

func TestUnreachable(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		receiver.Down()
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		o.Export(failures(12))
		<-said.heard
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begun := time.Now()
		err := o.Shutdown(ctx)
		if waited := time.Since(begun); waited > 3*time.Second {
			t.Errorf("Shutdown took %v", waited)
		}
		if err == nil || !strings.Contains(err.Error(), "12 spans not sent: dial tcp") {
			t.Errorf("Shutdown: %v", err)
		}
		if again := o.Shutdown(ctx); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("second Shutdown: %v", again)
		}
		if s := o.Stats(); s.Exported != 0 || len(s.Lost) != 1 || s.Lost[0].Cause != Unsent || s.Lost[0].Spans != 12 {
			t.Errorf("stats %+v", s)
		}
		if texts := said.list(); len(texts) != 1 {
			t.Errorf("messages %q, want one", texts)
		}
	})
}

// A remark without a rejection is passed on once, and nothing is lost.
func TestRemark(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		receiver.Answer(otlptest.Reject(0, "use the other port"))
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		o.Export(failures(5))
		receiver.WaitSpans(5)
		o.Export(failures(5))
		shutdown(t, o)
		if s := o.Stats(); s.Exported != 10 || s.LostSpans() != 0 {
			t.Errorf("stats %+v", s)
		}
		if got, want := said.list(), []string{receiver.Endpoint() + " remarks: use the other port"}; !slices.Equal(got, want) {
			t.Errorf("messages %q, want %q", got, want)
		}
	})
}

// An endpoint that does not answer at all is left after the timeout, and at
// the end of Shutdown.
func TestSilentEndpoint(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "50")
		until := make(chan struct{})
		defer close(until)
		receiver.Answer(otlptest.Hold(until))
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		o.Export(failures(3))
		<-said.heard
		receiver.WaitRequests(2)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if err := o.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "3 spans not sent: ") {
			t.Errorf("Shutdown: %v", err)
		}
		if waited := time.Since(begun); waited > 3*time.Second {
			t.Errorf("Shutdown took %v", waited)
		}
		if s := o.Stats(); s.LostSpans() != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Headers and compression come from the variables, and gzip is really gzip.
func TestHeadersAndCompression(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.Endpoint())
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=shop%20one,Authorization=Bearer%20abc")
		for _, compression := range []string{"gzip", "none", ""} {
			t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
			o := openWarning(t, "", func(w string) { t.Error(w) })
			o.Export(failures(100))
			shutdown(t, o)
			requests := receiver.Requests()
			last := requests[len(requests)-1]
			if last.Header("x-team") != "shop one" || last.Header("authorization") != "Bearer abc" {
				t.Errorf("headers %q and %q", last.Header("x-team"), last.Header("authorization"))
			}
			if smaller := last.Wire < last.Bytes/2; last.Spans != 100 || smaller != (compression == "gzip") {
				t.Errorf("compression %q: %d spans of %d bytes in %d", compression, last.Spans, last.Bytes, last.Wire)
			}
		}
		if got := len(receiver.Spans()); got != 300 {
			t.Errorf("received %d spans, want 300", got)
		}
	})
}

// The specification's variable for timeouts bounds an attempt as well, and
// the message says how long was waited.
func TestSlowEndpoint(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "50")
		until := make(chan struct{})
		receiver.Answer(otlptest.Hold(until))
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		o.Export(failures(3))
		<-said.heard
		receiver.Answer(nil)
		close(until)
		shutdown(t, o)
		if s := o.Stats(); s.Exported != 3 || s.LostSpans() != 0 {
			t.Errorf("stats %+v", s)
		}
		want := receiver.Endpoint() + " is away: no answer within 50ms; up to 65536 spans are kept and sent when it is back"
		if texts := said.list(); texts[0] != want {
			t.Errorf("message %q, want %q", texts[0], want)
		}
	})
}

// No limit on an attempt is none, not one of no time at all.
func TestNoTimeout(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0")
		t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "0")
		o := openWarning(t, receiver.Endpoint(), func(w string) { t.Error(w) })
		o.Export(failures(3))
		receiver.WaitSpans(3)
		shutdown(t, o)
	})
}

// Export may be called from several goroutines.
func TestConcurrentExport(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		o := open(t, receiver)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 50 {
					o.Export(failures(20))
				}
			})
		}
		group.Wait()
		shutdown(t, o)
		if got := len(receiver.Spans()); got != 8000 {
			t.Errorf("received %d, want 8000", got)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := newEncoder("v1", limits{128, -1, -1, -1, -1})
	spans := failures(2048)
	for b.Loop() {
		e.encode(spans, maxRequest)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2048, "ns/span")
}
