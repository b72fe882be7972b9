package exporter

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/otlptest"
)

// Certificates decide whether spans go out, in the same way over both
// protocols. Where they do not fit, nothing is sent and nothing is lost: the
// spans wait, and a person is told why.
func TestTLS(t *testing.T) {
	ours, others := otlptest.NewAuthority(t), otlptest.NewAuthority(t)
	hour := time.Now().Add(time.Hour)
	past := time.Now().Add(-time.Hour)
	server := ours.Issue("server", "", hour)
	client := ours.Issue("client", "", hour)
	stranger := others.Issue("stranger", "", hour)
	oneway, mutual := ours.ServerTLS(server, false), ours.ServerTLS(server, true)
	old := mutual.Clone()
	old.MaxVersion = tls.VersionTLS12

	const prefix = "OTEL_EXPORTER_OTLP_"
	tests := map[string]struct {
		server *tls.Config
		// Files of the variables: the authority's, the client's own.
		authority   string
		certificate otlptest.Certificate
		// want is empty where spans arrive.
		want string
	}{
		"server is known":           {server: oneway, authority: ours.File()},
		"both are known":            {server: mutual, authority: ours.File(), certificate: client},
		"both are known, TLS 1.2":   {server: old, authority: ours.File(), certificate: client},
		"nobody asks who it is":     {server: oneway, authority: ours.File(), certificate: client},
		"server of another CA":      {server: oneway, authority: others.File(), want: "x509: certificate signed by unknown authority"},
		"no CA":                     {server: oneway, want: "x509: certificate signed by unknown authority"},
		"server's has expired":      {server: ours.ServerTLS(ours.Issue("expired", "", past), false), authority: ours.File(), want: "x509: certificate has expired"},
		"server has another's name": {server: ours.ServerTLS(ours.Issue("other", "example.com", hour), false), authority: ours.File(), want: "x509: cannot validate certificate for 127.0.0.1"},
		"client has none":           {server: mutual, authority: ours.File(), want: "(does it take uspan's certificate? OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		"client has none, TLS 1.2":  {server: old, authority: ours.File(), want: "(does it take uspan's certificate? OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		"client's is of another CA": {server: mutual, authority: ours.File(), certificate: stranger, want: "(does it take uspan's certificate? OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		"client's has expired":      {server: mutual, authority: ours.File(), certificate: ours.Issue("late", "", past), want: "(does it take uspan's certificate? OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		"server takes only TLS 1.1": {server: &tls.Config{Certificates: oneway.Certificates, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, authority: ours.File(), want: "tls: protocol version not supported"},
	}
	for name, test := range tests {
		for _, http := range []bool{false, true} {
			kind := map[bool]string{false: "grpc", true: "http"}[http]
			t.Run(name+"/"+kind, func(t *testing.T) {
				receiver := otlptest.Config{HTTP: http, TLS: test.server}.Start(t)
				t.Setenv(prefix+"CERTIFICATE", test.authority)
				t.Setenv(prefix+"CLIENT_CERTIFICATE", test.certificate.File)
				t.Setenv(prefix+"CLIENT_KEY", test.certificate.KeyFile)
				said := newMessages()
				o := openWarning(t, receiver.Endpoint(), said.warn)
				o.Export(failures(5))
				if test.want == "" {
					receiver.WaitSpans(5)
					shutdown(t, o)
					if s := o.Stats(); s.Exported != 5 || s.LostSpans() != 0 {
						t.Errorf("stats %+v, messages %q", s, said.list())
					}
					return
				}
				<-said.heard
				if texts := said.list(); !strings.Contains(texts[0], " is away: ") || !strings.Contains(texts[0], test.want) {
					t.Errorf("messages %q, want %q", texts, test.want)
				}
				if got := len(receiver.Requests()); got != 0 {
					t.Errorf("%d requests got through", got)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := o.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "5 spans not sent: ") {
					t.Errorf("Shutdown: %v", err)
				}
				if s := o.Stats(); s.Exported != 0 || s.LostSpans() != 5 {
					t.Errorf("stats %+v", s)
				}
			})
		}
	}
}

// What was to be secret is not sent in plaintext because a server says so.
func TestRedirectOutOfTLS(t *testing.T) {
	authority := otlptest.NewAuthority(t)
	secure := authority.ServerTLS(authority.Issue("server", "", time.Now().Add(time.Hour)), false)
	receiver, plaintext := otlptest.Config{HTTP: true, TLS: secure}.Start(t), otlptest.Config{HTTP: true}.Start(t)
	receiver.Answer(answer(307, "Location: "+plaintext.Endpoint(), ""))
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.File())
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
	o := openWarning(t, receiver.Endpoint(), func(string) {})
	o.Export(failures(5))
	shutdown(t, o)
	if s := o.Stats(); s.LostSpans() != 5 || !strings.Contains(s.Lost[0].Reason, "which is not followed") {
		t.Errorf("stats %+v", s)
	}
	if got := len(plaintext.Requests()); got != 0 {
		t.Errorf("%d requests in plaintext", got)
	}
}

// OTEL_EXPORTER_OTLP_INSECURE is for endpoints without a scheme: it never turns
// TLS off where https:// asks for it.
func TestInsecureIsNotForURLs(t *testing.T) {
	authority := otlptest.NewAuthority(t)
	config := authority.ServerTLS(authority.Issue("server", "", time.Now().Add(time.Hour)), false)
	t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.File())
	for _, http := range []bool{false, true} {
		receiver := otlptest.Config{HTTP: http, TLS: config}.Start(t)
		o := openWarning(t, receiver.Endpoint(), func(w string) { t.Error(w) })
		o.Export(failures(5))
		shutdown(t, o)
		if got := len(receiver.Spans()); got != 5 {
			t.Errorf("received %d", got)
		}
	}
}

// Certificates that plaintext has no use for do not keep it from sending.
func TestCertificatesWithPlaintext(t *testing.T) {
	overBoth(t, func(t *testing.T, receiver *otlptest.Receiver) {
		authority := otlptest.NewAuthority(t)
		client := authority.Issue("client", "", time.Now().Add(time.Hour))
		t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.File())
		t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client.File)
		t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", client.KeyFile)
		said := newMessages()
		o := openWarning(t, receiver.Endpoint(), said.warn)
		o.Export(failures(5))
		shutdown(t, o)
		if got := len(receiver.Spans()); got != 5 {
			t.Errorf("received %d", got)
		}
		if texts := said.list(); len(texts) != 1 || !strings.Contains(texts[0], "is plaintext (https:// is TLS)") {
			t.Errorf("messages %q", texts)
		}
	})
}
