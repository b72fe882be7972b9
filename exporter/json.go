package exporter

import (
	"context"
	"fmt"
	"io"

	"go.opentelemetry.io/collector/pdata/ptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/uspan/uspan/instrument/span"
)

const (
	// maxLine is the longest line, where one span alone is not longer. The
	// Collector's otlpjsonfile receiver cuts lines at 1 MiB unless told
	// otherwise.
	maxLine = 1 << 20
	// maxLineMessage is the size of the message that makes such a line.
	maxLineMessage = maxLine / 4
)

// JSONConfig is what OpenJSON needs to know.
type JSONConfig struct {
	// Version is the version of the instrumentation scope.
	Version string
	Limits  Limits
	// Warn is told, in one line each, what a person should know: the first
	// write that fails. It may be called from several goroutines.
	Warn func(string)
}

// A JSON writes spans as lines of OTLP JSON, in the form of OpenTelemetry's
// file exporter: one TracesData message a line.
type JSON struct {
	batcher *batcher
	tally   Tally
	encoder *encoder
	out     io.Writer
	// torn says that the last write broke off in the middle of a line.
	torn bool
}

// OpenJSON starts writing to out, which gets one Write a line and stays the
// caller's to close, behind Shutdown. Where out is standard output, the caller
// must see to it that SIGPIPE does not kill the process. The OTEL_BSP_*
// variables and the attribute limits apply as for OTLP.
func OpenJSON(out io.Writer, config JSONConfig) *JSON {
	j := &JSON{
		encoder: newEncoder(config.Version, config.Limits.over(limitsFromEnvironment(config.Warn))),
		out:     out,
	}
	j.batcher = newBatcher("json", batchingFromEnvironment(config.Warn), config.Warn, &j.tally, j.send)
	return j
}

// Export queues the spans that have ended; calls that have only begun are
// passed over. It waits 50 ms at most.
func (j *JSON) Export(spans []*span.Span) { j.batcher.export(spans) }

// Shutdown writes what is queued, until ctx ends. The error says how many
// spans were left over. It may be called again.
func (j *JSON) Shutdown(ctx context.Context) error { return j.batcher.shutdown(ctx) }

// Stats are the counts up to now.
func (j *JSON) Stats() Stats { return j.tally.Stats() }

// send writes one line with as many of the spans as it has room for.
func (j *JSON) send(_ context.Context, batch []*span.Span) outcome {
	message, n := j.encoder.encode(batch, maxLineMessage)
	line, err := jsonLine(message)
	for err == nil && len(line) > maxLine && n > 1 {
		message, n = j.encoder.encode(batch[:n/2], maxLineMessage)
		line, err = jsonLine(message)
	}
	if err == nil {
		err = j.write(line)
	}
	if err != nil {
		return outcome{lost: n, cause: WriteFailed, reason: printable(err.Error())}
	}
	return outcome{exported: n}
}

// write writes a line, behind a fresh start where the one before was torn.
func (j *JSON) write(line []byte) error {
	if j.torn {
		if _, err := j.out.Write([]byte{'\n'}); err != nil {
			return err
		}
		j.torn = false
	}
	n, err := j.out.Write(line)
	j.torn = err != nil && n > 0
	return err
}

// jsonLine is the message in the JSON of OTLP, which differs from that of
// protobuf: ids are hexadecimal and enumerations numbers.
func jsonLine(message []*tracepb.ResourceSpans) ([]byte, error) {
	wire, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: message})
	if err != nil {
		return nil, fmt.Errorf("marshal spans: %w", err)
	}
	traces, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(wire)
	if err != nil {
		return nil, fmt.Errorf("read spans back: %w", err)
	}
	line, err := new(ptrace.JSONMarshaler).MarshalTraces(traces)
	if err != nil {
		return nil, fmt.Errorf("write spans as JSON: %w", err)
	}
	return append(line, '\n'), nil
}
