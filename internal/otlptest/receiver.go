// Package otlptest receives OTLP over gRPC within a test, and can behave as
// badly as an endpoint in the field.
package otlptest

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // so that requests may be compressed
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A Receiver is an OTLP endpoint on the loopback.
type Receiver struct {
	t       testing.TB
	address string

	mu       sync.Mutex
	server   *grpc.Server
	answer   Answer
	spans    []Span
	requests []Request
	// changed is closed, and made anew, with every request.
	changed chan struct{}
}

// A Request is one that arrived, whatever the answer was.
type Request struct {
	// Spans is their number, Bytes the size of the message.
	Spans, Bytes int

	headers metadata.MD
}

// Header is the value of a header, empty where it was not sent.
func (r Request) Header(name string) string {
	return strings.Join(r.headers.Get(name), ",")
}

// An Answer decides what becomes of a request of so many spans. An error is
// the answer, and the spans do not count as received; nor do the first
// rejected ones.
type Answer func(ctx context.Context, spans int) (rejected int64, message string, err error)

// Fail answers every request with an error of that code.
func Fail(code codes.Code) Answer {
	return func(context.Context, int) (int64, string, error) {
		return 0, "", status.Error(code, "as the test wants it")
	}
}

// Throttle answers ResourceExhausted, and that it will be over after pause.
func Throttle(pause time.Duration) Answer {
	return func(context.Context, int) (int64, string, error) {
		s, err := status.New(codes.ResourceExhausted, "too much").
			WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(pause)})
		if err != nil {
			return 0, "", err
		}
		return 0, "", s.Err()
	}
}

// Reject takes all spans of a request but n.
func Reject(n int64, message string) Answer {
	return func(context.Context, int) (int64, string, error) { return n, message, nil }
}

// Hold takes every request, but answers only when until is closed, or the
// client has gone.
func Hold(until <-chan struct{}) Answer {
	return func(ctx context.Context, _ int) (int64, string, error) {
		select {
		case <-until:
			return 0, "", nil
		case <-ctx.Done():
			return 0, "", ctx.Err()
		}
	}
}

// Start starts a receiver on a free port. It ends with the test.
func Start(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{t: t, address: "127.0.0.1:0", changed: make(chan struct{})}
	r.Up()
	t.Cleanup(r.Down)
	return r
}

// Endpoint is the receiver's URL. It stays the same over Down and Up.
func (r *Receiver) Endpoint() string { return "http://" + r.address }

// Up starts a receiver that is down, on the same port.
func (r *Receiver) Up() {
	r.t.Helper()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatalf("listen: %v", err)
	}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, &service{receiver: r})
	r.mu.Lock()
	r.server, r.address = server, listener.Addr().String()
	r.mu.Unlock()
	go func() {
		// Ends with nil by Stop; anything else shows as missing spans.
		_ = server.Serve(listener)
	}()
}

// Down stops the receiver and cuts its connections. It may be called again.
func (r *Receiver) Down() {
	r.mu.Lock()
	server := r.server
	r.server = nil
	r.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Answer decides about all requests from now on; nil accepts them.
func (r *Receiver) Answer(answer Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// Spans are all spans received, in the order of their arrival.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...)
}

// Requests are all requests that arrived, those that failed as well.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// WaitSpans waits until n spans have been received, and returns them all. It
// fails the test when that takes longer than 20 s.
func (r *Receiver) WaitSpans(n int) []Span {
	r.t.Helper()
	r.wait("spans", n, func() int { return len(r.spans) })
	return r.Spans()
}

// WaitRequests waits until n requests have arrived.
func (r *Receiver) WaitRequests(n int) {
	r.t.Helper()
	r.wait("requests", n, func() int { return len(r.requests) })
}

func (r *Receiver) wait(what string, n int, count func() int) {
	r.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		have, changed := count(), r.changed
		r.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			r.t.Fatalf("received %d %s in 20 s, want %d", have, what, n)
		}
	}
}

// A service is what gRPC calls.
type service struct {
	coltracepb.UnimplementedTraceServiceServer
	receiver *Receiver
}

func (s *service) Export(ctx context.Context, request *coltracepb.ExportTraceServiceRequest) (
	*coltracepb.ExportTraceServiceResponse, error) {
	r := s.receiver
	spans := flatten(request.GetResourceSpans())
	headers, _ := metadata.FromIncomingContext(ctx)
	r.mu.Lock()
	answer := r.answer
	r.requests = append(r.requests, Request{len(spans), proto.Size(request), headers})
	r.notify()
	r.mu.Unlock()

	response := &coltracepb.ExportTraceServiceResponse{}
	if answer != nil {
		rejected, message, err := answer(ctx, len(spans))
		if err != nil {
			return nil, err
		}
		if rejected != 0 || message != "" {
			response.PartialSuccess = &coltracepb.ExportTracePartialSuccess{
				RejectedSpans: rejected,
				ErrorMessage:  message,
			}
			spans = spans[min(int64(len(spans)), rejected):]
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, spans...)
	r.notify()
	return response, nil
}

// notify wakes those who wait. The mutex is held.
func (r *Receiver) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}
