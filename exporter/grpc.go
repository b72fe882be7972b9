package exporter

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// silence is how long what was sent may stay unacknowledged before a
	// connection is given up. Without it, requests would go into one whose other
	// side has vanished for as long as TCP tries, a quarter of an hour.
	silence = 20 * time.Second
	// pingInterval is above the five minutes that servers of gRPC want between
	// pings; it is silence, which comes along, that matters.
	pingInterval = 6 * time.Minute
)

// A grpcTransport is OTLP over gRPC.
type grpcTransport struct{ client otlptrace.Client }

func newGRPCTransport(c connection) (*grpcTransport, error) {
	t := &grpcTransport{otlptracegrpc.NewClient(grpcOptions(c)...)}
	return t, t.client.Start(context.Background())
}

func grpcOptions(c connection) []otlptracegrpc.Option {
	credential := insecure.NewCredentials()
	if !c.plaintext {
		credential = credentials.NewTLS(c.tls)
	}
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint(c.target),
		otlptracegrpc.WithTLSCredentials(credential),
		otlptracegrpc.WithHeaders(c.headers),
		otlptracegrpc.WithTimeout(c.timeout),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}),
		otlptracegrpc.WithDialOption(
			grpc.WithChainUnaryInterceptor(noteAnswer),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{
					BaseDelay:  firstRetry,
					Multiplier: 1.6,
					Jitter:     0.2,
					MaxDelay:   lastRetry / 2,
				},
				MinConnectTimeout: lastRetry,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingInterval, Timeout: silence}),
			// Saves a look-up in the DNS for settings that nobody has there.
			grpc.WithDisableServiceConfig(),
		),
	}
	if c.gzip {
		options = append(options, otlptracegrpc.WithCompressor("gzip"))
	}
	return options
}

func (t *grpcTransport) upload(ctx context.Context, message []*tracepb.ResourceSpans) reply {
	var answer grpcAnswer
	err := t.client.UploadTraces(context.WithValue(ctx, grpcAnswerKey{}, &answer), message)
	if answer.response != nil {
		return reply{partial: answer.response.GetPartialSuccess()}
	}
	again, pause := retryable(err)
	return reply{err: grpcError(err), again: again, pause: pause}
}

// stop does not wait, as nothing is being uploaded. Its only error is that it
// was called before.
func (t *grpcTransport) stop() { _ = t.client.Stop(context.Background()) }

// A grpcAnswer is what the endpoint said to a request, nil for nothing.
type grpcAnswer struct {
	response *coltracepb.ExportTraceServiceResponse
}

type grpcAnswerKey struct{}

// noteAnswer keeps the answer for the one who asks: the client tells a partial
// success only as text in an error.
func noteAnswer(ctx context.Context, method string, request, response any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, response, conn, options...)
	if answer, ok := ctx.Value(grpcAnswerKey{}).(*grpcAnswer); ok && err == nil {
		answer.response, _ = response.(*coltracepb.ExportTraceServiceResponse)
	}
	return err
}

// retryable tells, by the table of the OTLP specification, whether the same
// request may be accepted later, and for how long the endpoint wants to be
// left alone.
func retryable(err error) (again bool, pause time.Duration) {
	s := grpcStatus(err)
	throttled := false
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			throttled, pause = true, info.GetRetryDelay().AsDuration()
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return true, pause
	case codes.ResourceExhausted:
		return throttled, pause
	default:
		return false, 0
	}
}

// grpcStatus is the status in err, which the client may have wrapped.
func grpcStatus(err error) *status.Status {
	var carrier interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carrier) {
		return carrier.GRPCStatus()
	}
	return status.FromContextError(err)
}

// grpcError is err without gRPC's wrapping.
func grpcError(err error) error {
	s := grpcStatus(err)
	text := s.Message()
	if _, inner, found := strings.Cut(text, `desc = "`); found {
		text = strings.TrimSuffix(inner, `"`)
	}
	text = strings.TrimPrefix(text, "transport: Error while dialing: ")
	text = strings.TrimPrefix(text, "transport: ")
	if text == "" || s.Code() != codes.Unavailable {
		text = strings.TrimSuffix(s.Code().String()+": "+text, ": ")
	}
	return errors.New(text)
}
