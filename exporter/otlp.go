package exporter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/uspan/uspan/instrument/span"
)

// maxRequest keeps a request below the 4 MiB that gRPC servers receive unless
// told otherwise, as the Collector and Jaeger do. Over HTTP it is 20 MiB.
const maxRequest = 3 << 20

// OTLPConfig is what OpenOTLP needs to know.
type OTLPConfig struct {
	// Endpoint is a URL, or host:port (plaintext on the loopback, else TLS).
	// http:// is plaintext, https:// TLS. With a path, or on port 4318, OTLP
	// goes over HTTP, to that path or else to /v1/traces; on port 4317, by
	// grpc:// and grpcs:// (plaintext and TLS) and by unix:///path over gRPC;
	// else as the OTEL_EXPORTER_OTLP_PROTOCOL variables say, or over gRPC.
	//
	// Where Endpoint is empty, the OTEL_EXPORTER_OTLP_* variables name it by
	// their specification, else it is http://localhost:4317. Headers,
	// certificates, compression and timeout come from those variables.
	Endpoint string
	// Version is the version of the instrumentation scope.
	Version string
	Limits  Limits
	// Warn is told, in one line each, what a person should know: that the
	// endpoint went away, that it is back, and the first loss of each cause.
	// It may be called from several goroutines.
	Warn func(string)
}

// An OTLP sends spans by OTLP, over gRPC or HTTP.
type OTLP struct {
	batcher   *batcher
	tally     Tally
	encoder   *encoder
	transport transport
	endpoint  endpoint
	timeout   time.Duration
	warn      func(string)
	// remarked says that a remark of the endpoint was passed on, reached that it
	// ever took a request.
	remarked, reached bool
}

// A transport makes requests. It does not repeat them: the batcher does, for as
// long as it has room.
type transport interface {
	upload(ctx context.Context, message []*tracepb.ResourceSpans) reply
	// stop closes the connection. Nothing is being uploaded any more.
	stop()
}

// A reply is what came of one request.
type reply struct {
	// err is nil where the endpoint took the request, with what it says of that
	// in partial, which may be nil.
	err     error
	partial *coltracepb.ExportTracePartialSuccess
	// again says that the same request may be taken later, but not before pause
	// is over.
	again bool
	pause time.Duration
}

// OpenOTLP starts sending. It does not wait for the endpoint, which may be away
// at any time: what fits in the queue is kept for it. An error is about the
// configuration only.
func OpenOTLP(config OTLPConfig) (*OTLP, error) {
	connection, err := resolveConnection(config.Endpoint, config.Warn)
	if err != nil {
		return nil, err
	}
	settings := batchingFromEnvironment(config.Warn)
	o := &OTLP{
		encoder:  newEncoder(config.Version, config.Limits.over(limitsFromEnvironment(config.Warn))),
		endpoint: connection.endpoint,
		timeout:  shorter(settings.timeout, connection.timeout),
		warn:     config.Warn,
	}
	if connection.protocol == protocolHTTP {
		o.transport, err = newHTTPTransport(connection)
	} else {
		o.transport, err = newGRPCTransport(connection)
	}
	if err != nil {
		return nil, fmt.Errorf("start OTLP client for %s: %w", o.endpoint.name, err)
	}
	o.batcher = newBatcher(o.endpoint.name, settings, config.Warn, &o.tally, o.send)
	return o, nil
}

// shorter is the shorter of two limits, of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
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
	o.transport.stop()
	return err
}

// Stats are the counts up to now.
func (o *OTLP) Stats() Stats {
	stats := o.tally.Stats()
	stats.Away = o.batcher.why()
	return stats
}

// send makes one request of as many of the spans as it has room for.
func (o *OTLP) send(ctx context.Context, batch []*span.Span) outcome {
	message, n := o.encoder.encode(batch, maxRequest)
	attempt, cancel := ctx, context.CancelFunc(func() {})
	if o.timeout > 0 {
		attempt, cancel = context.WithTimeout(ctx, o.timeout)
	}
	defer cancel()
	begun := time.Now()
	reply := o.transport.upload(attempt, message)
	if reply.err == nil {
		return o.accepted(n, reply.partial)
	}
	// A gRPC server knows the limit, too, and may be the first to give up.
	overdue := o.timeout > 0 && time.Since(begun) > o.timeout*9/10
	if reply.again && overdue && ctx.Err() == nil {
		reply.err = fmt.Errorf("no answer within %v", o.timeout)
	}
	reason := explained(reply.err)
	if reply.again {
		if !o.reached && !o.endpoint.plaintext && hungUp(reply.err) {
			reason += " (" + clientCertificate + ")"
		}
		if reply.pause > lastRetry {
			reason += fmt.Sprintf(", to try again in %v", reply.pause.Round(time.Second))
		}
		return outcome{retry: errors.New(reason), pause: reply.pause}
	}
	return outcome{lost: n, cause: Rejected, reason: reason}
}

// accepted is the outcome of n spans that the endpoint took, except those that
// it says it rejected.
func (o *OTLP) accepted(n int, partial *coltracepb.ExportTracePartialSuccess) outcome {
	o.reached = true
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

// clientCertificate is the way out where a server wants to know who sends.
const clientCertificate = "does it take uspan's certificate? OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and …_CLIENT_KEY name it"

// waysOut are what usually helps, by what the libraries and servers say.
var waysOut = []struct{ symptom, way string }{
	{"first record does not look like a TLS handshake", "plaintext goes with http://"},
	{"server gave HTTP response to HTTPS client", "plaintext goes with http://"},
	{"Client sent an HTTP request to an HTTPS server", "TLS goes with https://"},
	{"signed by unknown authority", "OTEL_EXPORTER_OTLP_CERTIFICATE names the file with the CA's certificate"},
	{"remote error: tls: protocol version", "the server has to speak TLS 1.2 or later"},
	{"remote error: tls: ", clientCertificate},
	{"readLoopPeekFailLocked: %!w(<nil>)", "over gRPC it goes with grpc:// or port 4317"}, // it spoke first
	{"malformed HTTP response", "over gRPC it goes with grpc:// or port 4317"},
	{"error reading server preface", "TLS goes with https://, OTLP over HTTP with a path: http://host:4318/v1/traces"},
	{"unexpected HTTP status code received from server", "OTLP over HTTP goes with a path: http://host:4318/v1/traces"},
	{"EOF", "the connection was closed without an answer"},
	{"larger than max", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE makes requests smaller"},
	{"Unauthenticated", "credentials go into OTEL_EXPORTER_OTLP_HEADERS"},
}

// explained is err for people, in one line, with the way out where there is a
// usual one.
func explained(err error) string {
	text := printable(err.Error())
	for _, w := range waysOut {
		if strings.Contains(text, w.symptom) {
			return text + " (" + w.way + ")"
		}
	}
	return text
}

// hungUp tells whether the other side closed the connection. In TLS 1.3 a server
// refuses a certificate only when its client already sends: the reason is lost
// where that comes first.
func hungUp(err error) bool {
	text := err.Error()
	for _, symptom := range []string{"broken pipe", "connection reset", "EOF", "client conn could not be established"} {
		if strings.Contains(text, symptom) {
			return true
		}
	}
	return false
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
