package exporter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/uspan/uspan/instrument/span"
)

// maxRequest keeps a request below the 4 MiB that gRPC servers receive unless
// told otherwise, as the Collector and Jaeger do.
const maxRequest = 3 << 20

// OTLPConfig is what OpenOTLP needs to know.
type OTLPConfig struct {
	// Endpoint is http://host[:port] (plaintext, port 4317 by default),
	// https://host[:port] (TLS), unix:///path, or host:port (plaintext on the
	// loopback, else TLS). Where it is empty, the OTEL_EXPORTER_OTLP_*
	// variables name the endpoint, else it is http://localhost:4317. Headers,
	// certificates, compression and timeout come from those variables.
	Endpoint string
	// Version is the version of the instrumentation scope.
	Version string
	// Warn is told, in one line each, what a person should know: that the
	// endpoint went away, that it is back, and the first loss of each cause.
	// It may be called from several goroutines.
	Warn func(string)
}

// An OTLP sends spans by OTLP over gRPC.
type OTLP struct {
	batcher  *batcher
	tally    Tally
	encoder  *encoder
	client   otlptrace.Client
	endpoint endpoint
	timeout  time.Duration
	warn     func(string)
	// remarked says that a remark of the endpoint was passed on.
	remarked bool
}

// OpenOTLP starts sending. It does not wait for the endpoint, which may be away
// at any time: what fits in the queue is kept for it. An error is about the
// configuration only.
func OpenOTLP(config OTLPConfig) (*OTLP, error) {
	if err := checkEnvironment(); err != nil {
		return nil, err
	}
	endpoint, err := resolveEndpoint(config.Endpoint)
	if err != nil {
		return nil, err
	}
	settings := batchingFromEnvironment(config.Warn)
	o := &OTLP{
		encoder:  newEncoder(config.Version, limitsFromEnvironment(config.Warn)),
		client:   otlptracegrpc.NewClient(clientOptions(endpoint)...),
		endpoint: endpoint,
		timeout:  settings.timeout,
		warn:     config.Warn,
	}
	if err := o.client.Start(context.Background()); err != nil {
		return nil, fmt.Errorf("start OTLP client for %s: %w", endpoint.name, err)
	}
	o.batcher = newBatcher(endpoint.name, settings, config.Warn, &o.tally, o.send)
	return o, nil
}

func clientOptions(endpoint endpoint) []otlptracegrpc.Option {
	options := []otlptracegrpc.Option{
		// The batcher tries again, for as long as it has room.
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
			// Saves a look-up in the DNS for settings that nobody has there.
			grpc.WithDisableServiceConfig(),
		),
	}
	if endpoint.plaintext {
		return append(options,
			otlptracegrpc.WithEndpoint(endpoint.target),
			otlptracegrpc.WithTLSCredentials(insecure.NewCredentials()))
	}
	return append(options, otlptracegrpc.WithEndpointURL(endpoint.name))
}

// Endpoint is the URL that spans go to, for messages.
func (o *OTLP) Endpoint() string { return o.endpoint.name }

// Export queues the spans that have ended; calls that have only begun are
// passed over. It waits 50 ms at most, and not at all while the endpoint is
// away.
func (o *OTLP) Export(spans []*span.Span) { o.batcher.export(spans) }

// Shutdown sends what is queued, until ctx ends, and closes the connection. The
// error says how many spans were left over, and why. It may be called again.
func (o *OTLP) Shutdown(ctx context.Context) error {
	err := o.batcher.shutdown(ctx)
	// Nothing is being sent any more, so this does not wait. Its only other
	// error is that it was stopped before.
	_ = o.client.Stop(ctx)
	return err
}

// Stats are the counts up to now.
func (o *OTLP) Stats() Stats { return o.tally.Stats() }

// send makes one request of as many of the spans as it has room for.
func (o *OTLP) send(ctx context.Context, batch []*span.Span) outcome {
	message, n := o.encoder.encode(batch, maxRequest)
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var answer answer
	err := o.client.UploadTraces(context.WithValue(ctx, answerKey{}, &answer), message)
	if answer.response != nil {
		return o.accepted(n, answer.response.GetPartialSuccess())
	}
	if again, pause := retryable(err); again {
		return outcome{retry: explained(err), pause: pause}
	}
	return outcome{lost: n, cause: Rejected, reason: explained(err).Error()}
}

// accepted is the outcome of n spans that the endpoint took, except those that
// it says it rejected.
func (o *OTLP) accepted(n int, partial *coltracepb.ExportTracePartialSuccess) outcome {
	message := printable(partial.GetErrorMessage())
	rejected := int(min(max(partial.GetRejectedSpans(), 0), int64(n)))
	if rejected == 0 && message != "" && !o.remarked {
		o.remarked = true
		o.warn(fmt.Sprintf("%s remarks: %s", o.endpoint.name, message))
	}
	if message == "" {
		message = "no reason given"
	}
	return outcome{exported: n - rejected, lost: rejected, cause: Rejected, reason: message}
}

// An answer is what the endpoint said to a request, nil for nothing.
type answer struct {
	response *coltracepb.ExportTraceServiceResponse
}

type answerKey struct{}

// noteAnswer keeps the answer for the one who asks: the client tells a partial
// success only as text in an error.
func noteAnswer(ctx context.Context, method string, request, response any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, response, conn, options...)
	if answer, ok := ctx.Value(answerKey{}).(*answer); ok && err == nil {
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

// explained is err for people: without gRPC's wrapping, with the way out where
// there is a usual one.
func explained(err error) error {
	s := grpcStatus(err)
	text := s.Message()
	if _, inner, found := strings.Cut(text, `desc = "`); found {
		text = strings.TrimSuffix(inner, `"`)
	}
	text = strings.TrimPrefix(text, "transport: Error while dialing: ")
	text = strings.TrimPrefix(text, "transport: ")
	switch {
	case text == "" || s.Code() != codes.Unavailable:
		text = strings.TrimSuffix(s.Code().String()+": "+text, ": ")
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		text += " (plaintext goes with http://)"
	}
	return errors.New(printable(text))
}

// printable is text that came from outside, safe to show in one line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
