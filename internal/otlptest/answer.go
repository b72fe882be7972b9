package otlptest

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// An Answer decides what becomes of a request of so many spans. An error is
// the answer, and the spans do not count as received; nor do the first
// rejected ones.
type Answer func(ctx context.Context, spans int) (rejected int64, message string, err error)

// Fail answers every request over gRPC with an error of that code.
func Fail(code codes.Code) Answer {
	return func(context.Context, int) (int64, string, error) {
		return 0, "", status.Error(code, "as the test wants it")
	}
}

// Throttle answers ResourceExhausted over gRPC, and that it will be over after
// pause.
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

// Respond answers every request over HTTP with what handle writes.
func Respond(handle http.HandlerFunc) Answer {
	return func(context.Context, int) (int64, string, error) { return 0, "", response(handle) }
}

// A response answers a request over HTTP by itself.
type response http.HandlerFunc

func (response) Error() string { return "an answer for HTTP" }
