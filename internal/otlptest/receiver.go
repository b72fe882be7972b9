// Package otlptest receives OTLP within a test, over gRPC or HTTP, with TLS or
// without, and can behave as badly as an endpoint in the field.
package otlptest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// A Receiver is an OTLP endpoint on the loopback.
type Receiver struct {
	t       testing.TB
	config  Config
	address string

	mu       sync.Mutex
	stop     func()
	answer   Answer
	spans    []Span
	requests []Request
	// changed is closed, and made anew, with every request.
	changed chan struct{}
}

// A Config is what a receiver speaks. The zero value is gRPC in plaintext.
type Config struct {
	HTTP bool
	// TLS is nil for plaintext.
	TLS *tls.Config
	// Socket is the path of a Unix socket to listen on, instead of a port.
	Socket string
}

// A Request is one that arrived, whatever the answer was.
type Request struct {
	// Spans is their number, Bytes the size of the message, and Wire that of
	// what was sent for it: less where it was compressed.
	Spans, Bytes, Wire int
	// Path is empty over gRPC.
	Path string

	headers map[string][]string
}

// Header is the value of a header, empty where it was not sent.
func (r Request) Header(name string) string {
	for key, values := range r.headers {
		if strings.EqualFold(key, name) {
			return strings.Join(values, ",")
		}
	}
	return ""
}

// Start starts a receiver of gRPC in plaintext on a free port. It ends with the
// test.
func Start(t testing.TB) *Receiver {
	t.Helper()
	return Config{}.Start(t)
}

// Start starts a receiver on a free port. It ends with the test.
func (c Config) Start(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{t: t, config: c, address: "127.0.0.1:0", changed: make(chan struct{})}
	if c.Socket != "" {
		r.address = c.Socket
	}
	r.Up()
	t.Cleanup(r.Down)
	return r
}

// Endpoint is the receiver's URL, over HTTP with the path. It stays the same
// over Down and Up.
func (r *Receiver) Endpoint() string {
	if r.config.HTTP {
		return r.Base() + "/v1/traces"
	}
	return r.Base()
}

// Base is the receiver's URL without a path.
func (r *Receiver) Base() string {
	if r.config.Socket != "" {
		return "unix://" + r.address
	}
	if r.config.TLS != nil {
		return "https://" + r.address
	}
	return "http://" + r.address
}

// Up starts a receiver that is down, on the same port.
func (r *Receiver) Up() {
	r.t.Helper()
	network := "tcp"
	if r.config.Socket != "" {
		network = "unix"
	}
	listener, err := net.Listen(network, r.address)
	// Meanwhile the port may have been given to somebody's connection.
	for deadline := time.Now().Add(10 * time.Second); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		listener, err = net.Listen(network, r.address)
	}
	if err != nil {
		r.t.Fatalf("listen: %v", err)
	}
	serve, stop := r.server()
	r.mu.Lock()
	r.stop, r.address = stop, listener.Addr().String()
	r.mu.Unlock()
	go func() {
		// Ends by stop; anything else shows as missing spans.
		_ = serve(listener)
	}()
}

func (r *Receiver) server() (serve func(net.Listener) error, stop func()) {
	if !r.config.HTTP {
		var options []grpc.ServerOption
		if r.config.TLS != nil {
			options = append(options, grpc.Creds(credentials.NewTLS(r.config.TLS)))
		}
		server := newGRPCServer(r, options...)
		return server.Serve, server.Stop
	}
	// What clients do wrong is for them to say.
	server := &http.Server{Handler: r, TLSConfig: r.config.TLS.Clone(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	serve = server.Serve
	if r.config.TLS != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	return serve, func() { _ = server.Close() }
}

// Down stops the receiver and cuts its connections. It may be called again.
func (r *Receiver) Down() {
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
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

// take notes a request, and decides what becomes of it.
func (r *Receiver) take(ctx context.Context, message *coltracepb.ExportTraceServiceRequest, request Request) (
	*coltracepb.ExportTraceServiceResponse, error) {
	spans := flatten(message.GetResourceSpans())
	request.Spans = len(spans)
	r.mu.Lock()
	answer := r.answer
	r.requests = append(r.requests, request)
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
