package exporter

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/uspan/uspan/internal/otlptest"
)

// answer is an answer over HTTP with a header and a body.
func answer(code int, header, body string) otlptest.Answer {
	return otlptest.Respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	})
}

// cut closes the connection without an answer.
var cut = otlptest.Respond(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })

// tear closes the connection in the middle of an answer.
var tear = otlptest.Respond(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	w.WriteHeader(http.StatusOK)
	fmt.Fprint(w, "half")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
})

func protobuf(t *testing.T, message string) string {
	t.Helper()
	body, err := proto.Marshal(&status.Status{Message: message})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// What an endpoint answers decides between sending again and loss.
func TestAnswersOverHTTP(t *testing.T) {
	tests := map[string]struct {
		answer otlptest.Answer
		again  bool
		// reason is of the loss, or of the endpoint's being away.
		reason string
	}{
		"429":                {answer(429, "", "slow down"), true, "429 Too Many Requests: slow down"},
		"429 for 0 s":        {answer(429, "Retry-After: 0", ""), true, "429 Too Many Requests"},
		"502":                {answer(502, "Content-Type: text/html", "<html>"), true, "502 Bad Gateway"},
		"503":                {answer(503, "", ""), true, "503 Service Unavailable"},
		"503 until":          {answer(503, "Retry-After: Mon, 02 Jan 2006 15:04:05 GMT", ""), true, "503 Service Unavailable"},
		"504":                {answer(504, "", ""), true, "504 Gateway Timeout"},
		"cut":                {cut, true, "EOF (the connection was closed without an answer)"},
		"torn":               {tear, true, "read the answer: unexpected EOF (the connection was closed without an answer)"},
		"400":                {answer(400, "", "no such\x1b[2J field"), false, "400 Bad Request: no such\uFFFD[2J field"},
		"400 in protobuf":    {answer(400, "Content-Type: application/x-protobuf", protobuf(t, "bad trace id")), false, "400 Bad Request: bad trace id"},
		"400 in JSON":        {answer(400, "Content-Type: application/json; charset=utf-8", `{"code":3,"message":"bad span id","more":1}`), false, "400 Bad Request: bad span id"},
		"400 long":           {answer(400, "", strings.Repeat("x", 5000)), false, "400 Bad Request: " + strings.Repeat("x", 200) + "…"},
		"401":                {answer(401, "", ""), false, "401 Unauthorized (credentials go into OTEL_EXPORTER_OTLP_HEADERS)"},
		"404":                {answer(404, "", "404 page not found"), false, "404 Not Found: 404 page not found (is the path right? A Collector's is /v1/traces)"},
		"413":                {answer(413, "", ""), false, "413 Request Entity Too Large (OTEL_BSP_MAX_EXPORT_BATCH_SIZE makes requests smaller)"},
		"500":                {answer(500, "", ""), false, "500 Internal Server Error"},
		"501":                {answer(501, "", ""), false, "501 Not Implemented"},
		"part rejected":      {otlptest.Reject(3, "bad\x1b[2J attribute"), false, "bad\uFFFD[2J attribute"},
		"all rejected":       {otlptest.Reject(5, ""), false, "no reason given"},
		"rejected in JSON":   {answer(200, "Content-Type: application/json", `{"partialSuccess":{"rejectedSpans":"5","errorMessage":"no room"}}`), false, "no room"},
		"redirect elsewhere": {answer(307, "Location: http://localhost:1/v1/traces?key=x", ""), false, "307 Temporary Redirect (it sends to http://localhost:1/v1/traces, which is not followed: name the URL that takes spans)"},
		"redirect as GET":    {answer(302, "Location: /login", ""), false, "302 Found (it sends to /login, which is not followed: name the URL that takes spans)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			receiver := otlptest.Config{HTTP: true}.Start(t)
			receiver.Answer(test.answer)
			said := newMessages()
			o := openWarning(t, receiver.Endpoint(), said.warn)
			o.Export(failures(5))
			<-said.heard
			requests := len(receiver.Requests())
			receiver.Answer(nil)
			shutdown(t, o)
			got, stats := uint64(len(receiver.Spans())), o.Stats()
			if test.again {
				if got != 5 || stats.Exported != 5 || stats.LostSpans() != 0 {
					t.Errorf("received %d, stats %+v: want all of them", got, stats)
				}
				if texts := said.list(); !strings.HasPrefix(texts[0], receiver.Endpoint()+" is away: "+test.reason+"; up to") {
					t.Errorf("messages %q, want %q", texts, test.reason)
				}
				return
			}
			if again := len(receiver.Requests()) - requests; again != 0 || requests != 1 {
				t.Errorf("sent %d times", requests+again)
			}
			if stats.Exported+stats.LostSpans() != 5 || got > stats.Exported {
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

// The endpoint is left alone for as long as it asks.
func TestRetryAfter(t *testing.T) {
	receiver := otlptest.Config{HTTP: true}.Start(t)
	receiver.Answer(answer(503, "Retry-After: 3600", ""))
	said := newMessages()
	o := openWarning(t, receiver.Endpoint(), said.warn)
	o.Export(failures(5))
	<-said.heard
	receiver.Answer(nil)
	o.Export(failures(5))
	time.Sleep(2 * firstRetry) // would be enough without the header
	if got := len(receiver.Requests()); got != 1 {
		t.Errorf("%d requests in the hour that the endpoint asked for", got)
	}
	shutdown(t, o) // tries once more at once
	if got := len(receiver.Spans()); got != 10 {
		t.Errorf("received %d, want 10", got)
	}
	if texts := said.list(); !strings.Contains(texts[0], "is away: 503 Service Unavailable, to try again in 1h0m0s; up to") {
		t.Errorf("messages %q", texts)
	}
}

func TestRetryAfterForms(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "1.5": 0,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0,
		"18446744073709551615":          9223372036 * time.Second,
	} {
		if got := retryAfter(value); got != want {
			t.Errorf("%q is %v, want %v", value, got, want)
		}
	}
	in := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	if got := retryAfter(in); got < 59*time.Minute || got > time.Hour {
		t.Errorf("%q is %v", in, got)
	}
}

// A redirect that leaves the request as it is, on the same host, is followed.
func TestRedirect(t *testing.T) {
	receiver := otlptest.Config{HTTP: true}.Start(t)
	for _, code := range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		front := otlptest.Config{HTTP: true}.Start(t)
		front.Answer(answer(code, "Location: "+receiver.Base()+"/moved", ""))
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=key")
		o := openWarning(t, front.Endpoint(), func(w string) { t.Error(w) })
		o.Export(failures(5))
		shutdown(t, o)
		if s := o.Stats(); s.Exported != 5 || s.LostSpans() != 0 {
			t.Errorf("stats %+v", s)
		}
	}
	requests := receiver.Requests()
	if len(requests) != 2 || requests[1].Spans != 5 || requests[1].Path != "/moved" || requests[1].Header("authorization") != "key" {
		t.Errorf("requests %+v", requests)
	}
	// Where it leads is away: the redirect is not the answer.
	front := otlptest.Config{HTTP: true}.Start(t)
	front.Answer(answer(http.StatusTemporaryRedirect, "Location: "+receiver.Base()+"/moved", ""))
	receiver.Answer(cut)
	said := newMessages()
	o := openWarning(t, front.Endpoint(), said.warn)
	o.Export(failures(5))
	<-said.heard
	receiver.Answer(nil)
	shutdown(t, o)
	if s := o.Stats(); s.Exported != 5 || s.LostSpans() != 0 {
		t.Errorf("stats %+v, messages %q", s, said.list())
	}
	// For ever.
	before := len(receiver.Requests())
	receiver.Answer(answer(http.StatusTemporaryRedirect, "Location: /moved", ""))
	o = openWarning(t, receiver.Endpoint(), func(string) {})
	o.Export(failures(5))
	shutdown(t, o)
	if s := o.Stats(); s.LostSpans() != 5 || len(receiver.Requests()) > before+1+maxRedirects {
		t.Errorf("stats %+v, %d requests", s, len(receiver.Requests()))
	}
}

// Who takes a request without an answer of OTLP has it; a person is told that
// it may be somebody else.
func TestForeignAnswer(t *testing.T) {
	tests := []struct {
		answer otlptest.Answer
		remark string
	}{
		{answer(200, "", ""), ""},
		{answer(204, "", ""), ""},
		{answer(200, "Content-Type: application/json", "{}"), ""},
		{answer(200, "Content-Type: text/html; charset=utf-8", "<html>"), "the answer 200 OK (text/html) is not one of OTLP: is the URL right?"},
		{answer(202, "Content-Type: application/x-protobuf", "nonsense"), "the answer 202 Accepted (application/x-protobuf) is not one of OTLP: is the URL right?"},
	}
	for _, test := range tests {
		receiver := otlptest.Config{HTTP: true}.Start(t)
		receiver.Answer(test.answer)
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		o.Export(failures(5))
		shutdown(t, o)
		if s := o.Stats(); s.Exported != 5 || s.LostSpans() != 0 {
			t.Errorf("stats %+v", s)
		}
		want := ""
		if test.remark != "" {
			want = receiver.Endpoint() + " remarks: " + test.remark
		}
		if got := strings.Join(said.list(), "|"); got != want {
			t.Errorf("messages %q, want %q", got, want)
		}
	}
}

// The path of requests is the endpoint's.
func TestPath(t *testing.T) {
	receiver := otlptest.Config{HTTP: true}.Start(t)
	send := func(endpoint string) {
		t.Helper()
		o := openWarning(t, endpoint, func(w string) { t.Error(w) })
		o.Export(failures(1))
		shutdown(t, o)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	send(receiver.Base())
	send(receiver.Base() + "/some/where/")
	send(receiver.Base() + "/a b")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.Base()+"/otlp/")
	send("")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.Base()+"/exactly")
	send("")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.Base())
	send("")
	var paths []string
	for _, request := range receiver.Requests() {
		paths = append(paths, request.Path)
	}
	want := "/v1/traces /some/where/ /a b /otlp/v1/traces /exactly /"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("paths %s, want %s", got, want)
	}
}

// Who speaks the wrong protocol is told the way out, and loses nothing yet.
func TestWrongProtocol(t *testing.T) {
	authority := otlptest.NewAuthority(t)
	secure := authority.ServerTLS(authority.Issue("server", "", time.Now().Add(time.Hour)), false)
	plainHTTP, plainGRPC := otlptest.Config{HTTP: true}.Start(t), otlptest.Start(t)
	secureHTTP, secureGRPC := otlptest.Config{HTTP: true, TLS: secure}.Start(t), otlptest.Config{TLS: secure}.Start(t)
	host := func(r *otlptest.Receiver) string { _, host, _ := strings.Cut(r.Base(), "://"); return host }
	tests := map[string]struct {
		endpoint, want string
	}{
		"gRPC to HTTP":            {"grpc://" + host(plainHTTP), "OTLP over HTTP with a path: http://host:4318/v1/traces)"},
		"HTTP to gRPC":            {plainGRPC.Base() + "/v1/traces", "(over gRPC it goes with grpc:// or port 4317)"},
		"TLS to plaintext gRPC":   {"grpcs://" + host(plainGRPC), "(plaintext goes with http://)"},
		"TLS to plaintext HTTP":   {"https://" + host(plainHTTP) + "/v1/traces", "(plaintext goes with http://)"},
		"plaintext to TLS, gRPC":  {"grpc://" + host(secureGRPC), "(TLS goes with https://"},
		"plaintext to TLS, HTTP":  {"http://" + host(secureHTTP) + "/v1/traces", "(TLS goes with https://)"},
		"nobody's certificate":    {secureHTTP.Endpoint(), "(OTEL_EXPORTER_OTLP_CERTIFICATE names the file with the CA's certificate)"},
		"nobody's, and over gRPC": {secureGRPC.Endpoint(), "(OTEL_EXPORTER_OTLP_CERTIFICATE names the file with the CA's certificate)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			said := newMessages()
			o := openWarning(t, test.endpoint, said.warn)
			o.Export(failures(1))
			<-said.heard
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = o.Shutdown(ctx)
			if texts := said.list(); !strings.Contains(texts[0], test.want) {
				t.Errorf("messages %q, want %q", texts, test.want)
			}
			if s := o.Stats(); s.Exported != 0 || s.LostSpans() != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}
