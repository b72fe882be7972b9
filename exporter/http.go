package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	// maxAnswer is how much of an answer is read.
	maxAnswer = 1 << 20
	// maxQuote is how much of an answer that is plain text is shown.
	maxQuote = 200
	// maxRedirects is how often an endpoint may send a request elsewhere.
	maxRedirects = 5
	// pingAfter is how long a connection of HTTP/2 may be silent before it is
	// asked whether it is still there, and pingTimeout how long that may take.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
)

// An httpTransport is OTLP over HTTP, with bodies in protobuf.
type httpTransport struct {
	client otlptrace.Client
	web    *http.Client
}

func newHTTPTransport(c connection) (*httpTransport, error) {
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.TLSClientConfig = c.tls
	connections.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	t := &httpTransport{web: &http.Client{
		Transport:     noteTransport{connections},
		CheckRedirect: checkRedirect,
	}}
	compression := otlptracehttp.NoCompression
	if c.gzip {
		compression = otlptracehttp.GzipCompression
	}
	// What is said here goes before the environment, which the client reads, too.
	t.client = otlptracehttp.NewClient(
		otlptracehttp.WithHTTPClient(t.web),
		otlptracehttp.WithTLSClientConfig(nil), // the HTTP client's holds
		otlptracehttp.WithEndpointURL(c.name),
		otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf),
		otlptracehttp.WithHeaders(c.headers),
		otlptracehttp.WithCompression(compression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}),
	)
	return t, t.client.Start(context.Background())
}

// checkRedirect follows a redirect only if the request stays what it is and
// goes to the same host, no less safely: with any other status than 307 and 308
// it would become a GET without spans, and elsewhere the headers are nobody's
// business. What is not followed is the answer.
func checkRedirect(request *http.Request, via []*http.Request) error {
	first := via[0]
	if request.Method != http.MethodPost || len(via) > maxRedirects ||
		request.URL.Hostname() != first.URL.Hostname() ||
		first.URL.Scheme == "https" && request.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

func (t *httpTransport) upload(ctx context.Context, message []*tracepb.ResourceSpans) reply {
	var answer httpAnswer
	err := t.client.UploadTraces(context.WithValue(ctx, httpAnswerKey{}, &answer), message)
	var failed *url.Error
	switch {
	case answer.status != 0:
		return answer.reply()
	case errors.As(err, &failed):
		return reply{err: failed.Err, again: true} // without method and URL
	case err == nil: // cannot be
		err = errors.New("no answer")
	}
	return reply{err: err, again: ctx.Err() != nil}
}

func (t *httpTransport) stop() {
	_ = t.client.Stop(context.Background()) // nothing is being uploaded
	t.web.CloseIdleConnections()
}

// An httpAnswer is what the endpoint said to a request.
type httpAnswer struct {
	// scheme is the request's.
	scheme string
	// status is 0 where there was no answer.
	status int
	header http.Header
	body   []byte
}

type httpAnswerKey struct{}

// A noteTransport keeps the answer for the one who asks: the client tells it
// only as text in an error.
type noteTransport struct{ *http.Transport }

func (t noteTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, noted := request.Context().Value(httpAnswerKey{}).(*httpAnswer)
	if !noted {
		return t.Transport.RoundTrip(request)
	}
	*answer = httpAnswer{} // of the request that was redirected here
	response, err := t.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	_ = response.Body.Close()
	if err != nil && response.StatusCode/100 == 2 {
		// It may have rejected some.
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	*answer = httpAnswer{request.URL.Scheme, response.StatusCode, response.Header, body}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// reply is what the answer means by the OTLP specification.
func (a httpAnswer) reply() reply {
	if a.status/100 == 2 {
		return reply{partial: a.partial()}
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		pause := retryAfter(a.header.Get("Retry-After"))
		return reply{err: a.err(), again: true, pause: pause}
	}
	return reply{err: a.err()}
}

// partial is what the endpoint says of a request that it took. What is no
// answer of OTLP is turned into a remark: the path may be somebody else's.
func (a httpAnswer) partial() *coltracepb.ExportTracePartialSuccess {
	var response coltracepb.ExportTraceServiceResponse
	if len(a.body) == 0 || a.decode(&response) {
		return response.GetPartialSuccess()
	}
	return &coltracepb.ExportTracePartialSuccess{
		ErrorMessage: fmt.Sprintf("the answer %s is not one of OTLP: is the URL right?", a.line()),
	}
}

// decode reads a body that is one of OTLP's messages.
func (a httpAnswer) decode(message proto.Message) bool {
	switch a.contentType() {
	case "application/x-protobuf":
		return proto.Unmarshal(a.body, message) == nil
	case "application/json":
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(a.body, message) == nil
	}
	return false
}

func (a httpAnswer) contentType() string {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return kind
}

// line is the status and, in short, what comes with it.
func (a httpAnswer) line() string {
	line := strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)))
	if kind := a.contentType(); a.status/100 == 2 && kind != "" {
		line += " (" + kind + ")"
	}
	return line
}

// err is an answer other than success, with its reason.
func (a httpAnswer) err() error {
	line := a.line()
	var status statuspb.Status
	reason := ""
	switch {
	case a.decode(&status):
		reason = status.GetMessage()
	case strings.HasPrefix(a.contentType(), "text/plain"):
		reason = strings.TrimSpace(string(a.body))
	}
	if runes := []rune(reason); len(runes) > maxQuote {
		reason = string(runes[:maxQuote]) + "…"
	}
	if reason != "" && !strings.Contains(line, reason) {
		line += ": " + reason
	}
	if way := a.wayOut(reason); way != "" {
		line += " (" + way + ")"
	}
	return errors.New(line)
}

// wayOut is what usually helps, empty where nothing does.
func (a httpAnswer) wayOut(reason string) string {
	switch a.status {
	case http.StatusBadRequest:
		if reason == "" && a.scheme == "http" { // as servers of TLS hang up
			return "TLS goes with https://"
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		return "credentials go into OTEL_EXPORTER_OTLP_HEADERS"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "is the path right? A Collector's is " + pathHTTP
	case http.StatusRequestEntityTooLarge:
		return "OTEL_BSP_MAX_EXPORT_BATCH_SIZE makes requests smaller"
	}
	if to := a.header.Get("Location"); a.status/100 == 3 && to != "" {
		return fmt.Sprintf("it sends to %s, which is not followed: name the URL that takes spans", shown(to))
	}
	return ""
}

// retryAfter is how long an endpoint wants to be left alone, in seconds or
// until a date (RFC 9110, 10.2.3), 0 where it does not say.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
