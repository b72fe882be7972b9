package exporter

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

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
	receiver := otlptest.Start(t)
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
}

func TestUnreachable(t *testing.T) {
	receiver := otlptest.Start(t)
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
}

// What an endpoint answers decides between sending again and loss.
func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		answer otlptest.Answer
		again  bool
		reason string
	}{
		"unavailable":        {otlptest.Fail(codes.Unavailable), true, ""},
		"aborted":            {otlptest.Fail(codes.Aborted), true, ""},
		"deadline":           {otlptest.Fail(codes.DeadlineExceeded), true, ""},
		"throttled":          {otlptest.Throttle(10 * time.Millisecond), true, ""},
		"resource exhausted": {otlptest.Fail(codes.ResourceExhausted), false, "ResourceExhausted: as the test wants it"},
		"unauthenticated":    {otlptest.Fail(codes.Unauthenticated), false, "Unauthenticated: as the test wants it"},
		"unimplemented":      {otlptest.Fail(codes.Unimplemented), false, "Unimplemented: as the test wants it"},
		"part rejected":      {otlptest.Reject(3, "bad\x1b[2J attribute"), false, "bad\uFFFD[2J attribute"},
		"all rejected":       {otlptest.Reject(5, ""), false, "no reason given"},
		"too many rejected":  {otlptest.Reject(99, "all of them"), false, "all of them"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			receiver := otlptest.Start(t)
			receiver.Answer(test.answer)
			said := newMessages()
			o := openWarning(t, receiver.Endpoint(), said.warn)
			o.Export(failures(5))
			<-said.heard
			receiver.Answer(nil)
			shutdown(t, o)
			got, stats := uint64(len(receiver.Spans())), o.Stats()
			if test.again {
				if got != 5 || stats.Exported != 5 || stats.LostSpans() != 0 {
					t.Errorf("received %d, stats %+v: want all of them", got, stats)
				}
				return
			}
			if stats.Exported != got || stats.Exported+stats.LostSpans() != 5 {
				t.Errorf("received %d, stats %+v", got, stats)
			}
			if len(stats.Lost) != 1 || stats.Lost[0].Cause != Rejected || stats.Lost[0].Reason != test.reason {
				t.Errorf("lost %+v, want reason %q", stats.Lost, test.reason)
			}
			if texts := said.list(); len(texts) != 1 || !strings.Contains(texts[0], " lost (rejected): "+test.reason) {
				t.Errorf("messages %q", texts)
			}
		})
	}
}

// A remark without a rejection is passed on once, and nothing is lost.
func TestRemark(t *testing.T) {
	receiver := otlptest.Start(t)
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
}

// An endpoint that does not answer at all is left after the timeout, and at
// the end of Shutdown.
func TestSilentEndpoint(t *testing.T) {
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "50")
	receiver := otlptest.Start(t)
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
}

// A plaintext endpoint that is addressed with TLS is told with the way out.
func TestTLSToPlaintext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = connection.Close()
		}
	}()
	said := newMessages()
	o := openWarning(t, "https://"+listener.Addr().String(), said.warn)
	o.Export(failures(1))
	<-said.heard
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Shutdown(ctx); err == nil {
		t.Error("Shutdown is silent about what it left")
	}
	if texts := said.list(); !strings.Contains(texts[0], "(plaintext goes with http://)") {
		t.Errorf("messages %q", texts)
	}
}

// The client's own variables work: here the headers and the compression.
func TestEnvironmentOfClient(t *testing.T) {
	receiver := otlptest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.Endpoint())
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=shop%20one")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	o := openWarning(t, "", func(w string) { t.Error(w) })
	o.Export(failures(1))
	shutdown(t, o)
	requests := receiver.Requests()
	if len(requests) != 1 || requests[0].Spans != 1 {
		t.Fatalf("requests %+v", requests)
	}
	if got := requests[0].Header("x-team"); got != "shop one" {
		t.Errorf("header %q", got)
	}
}

// Export may be called from several goroutines.
func TestConcurrentExport(t *testing.T) {
	receiver := otlptest.Start(t)
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
}

func BenchmarkEncode(b *testing.B) {
	e := newEncoder("v1", limits{128, -1})
	spans := failures(2048)
	for b.Loop() {
		e.encode(spans, maxRequest)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2048, "ns/span")
}
