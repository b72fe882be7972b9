package e2e

import (
	"bytes"
	"cmp"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/collectortest"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/otlptest"
)

// A Collector that wants certificates, a token and compressed bodies takes the
// spans by both protocols, and passes them on as uspan made them.
func TestCollector(t *testing.T) {
	kerneltest.Require(t)
	authority := otlptest.NewAuthority(t)
	hour := time.Now().Add(time.Hour)
	server, client := authority.Issue("collector", "", hour), authority.Issue("uspan", "", hour)
	overGRPC, overHTTP := otlptest.Start(t), otlptest.Config{HTTP: true}.Start(t)
	collector := collectortest.Start(t, collectortest.Config{
		Authority: authority.File(), Certificate: server.File, Key: server.KeyFile,
		Token: "open-sesame",
		GRPC:  strings.TrimPrefix(overGRPC.Base(), "http://"), HTTP: overHTTP.Endpoint(),
	})
	bin := build(t, "./cmd/uspan", "./examples/fibonacci")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.File())
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client.File)
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", client.KeyFile)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20open-sesame")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")

	for protocol, endpoint := range map[string]string{"grpc": collector.GRPC, "http/protobuf": collector.HTTP} {
		t.Run(protocol, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			file := filepath.Join(t.TempDir(), "spans.json")
			before, beforeToo := len(overGRPC.Spans()), len(overHTTP.Spans())

			run(t, filepath.Join(bin, "uspan"), "run", "-o", "otlp", "-o", "json="+file, "-f", "main.*", "-f", "!main.main",
				"--", filepath.Join(bin, "fibonacci"), "-n", "9")

			want := byID(readExactly(t, file))
			if len(want) < 10 {
				t.Fatalf("only %d spans in the file", len(want))
			}
			for name, spans := range map[string][]otlptest.Span{
				"gRPC": overGRPC.Spans()[before:], "HTTP": overHTTP.Spans()[beforeToo:],
			} {
				if diff := gocmp.Diff(want, byID(spans)); diff != "" {
					t.Errorf("spans that the Collector passed on over %s differ from the file's (-file +Collector):\n%s", name, diff)
				}
			}
		})
	}

	// It does want them.
	for _, name := range []string{"HEADERS", "CLIENT_CERTIFICATE", "COMPRESSION"} {
		t.Run("without "+name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTP)
			t.Setenv("OTEL_EXPORTER_OTLP_"+name, "")
			if name == "CLIENT_CERTIFICATE" {
				t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", "")
			}
			before := len(overHTTP.Spans())
			said := messages(t, filepath.Join(bin, "uspan"), "run", "-o", "otlp", "--flush-timeout", "3s",
				"--", filepath.Join(bin, "fibonacci"), "-n", "2")
			if got := len(overHTTP.Spans()) - before; got != 0 {
				t.Errorf("the Collector took %d spans", got)
			}
			want := map[string]string{
				"HEADERS":            "401 Unauthorized",
				"CLIENT_CERTIFICATE": "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
				"COMPRESSION":        "400 Bad Request: unsupported Content-Encoding",
			}[name]
			if !strings.Contains(said, want) {
				t.Errorf("uspan says\n%swant %q", said, want)
			}
		})
	}
}

func byID(spans []otlptest.Span) []otlptest.Span {
	return slices.SortedFunc(slices.Values(spans), func(a, b otlptest.Span) int { return cmp.Compare(a.ID, b.ID) })
}

// messages are what a command says that ends well.
func messages(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, &stderr)
	}
	return stderr.String()
}
