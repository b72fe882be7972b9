// Package jaegertest runs a real Jaeger for tests: Build makes the executable
// from its published module, Start runs it on loopback, and a Jaeger says over
// its query API what it has stored.
package jaegertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/realserver"
)

// Jaeger is a running Jaeger that keeps traces in memory and ends with its test.
type Jaeger struct {
	// OTLPEndpoint is where it takes spans, by gRPC without TLS.
	OTLPEndpoint string
	Client
}

// Start runs Jaeger until the test ends, and returns when it is ready.
func Start(t testing.TB) *Jaeger {
	t.Helper()
	executable := Build(t)
	ports := realserver.FreeAddresses(t, 3)
	config := filepath.Join(t.TempDir(), "jaeger.yaml")
	if err := os.WriteFile(config, []byte(Configuration(ports[0], ports[1], ports[2])), 0o600); err != nil {
		t.Fatal(err)
	}
	j := &Jaeger{
		OTLPEndpoint: "http://" + ports[0],
		Client:       Client{URL: "http://" + ports[1]},
	}
	ready := func() error {
		_, err := j.Services()
		return err
	}
	realserver.Start(t, ready, executable, "--config", config)
	return j
}

// Configuration is the smallest that takes OTLP by gRPC at one address, and
// answers queries at two, by HTTP and by gRPC.
func Configuration(otlp, http, grpc string) string {
	return fmt.Sprintf(`
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [jaeger_storage_exporter]
  telemetry:
    metrics:
      level: none
extensions:
  jaeger_storage:
    backends:
      memory:
        memory:
          max_traces: 100000
  jaeger_query:
    storage:
      traces: memory
    http:
      endpoint: %[2]s
    grpc:
      endpoint: %[3]s
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: %[1]s
exporters:
  jaeger_storage_exporter:
    trace_storage: memory
`, otlp, http, grpc)
}
