// Package jaegertest runs a real Jaeger for tests: Build makes the executable
// from its published module, Start runs it on loopback, and a Jaeger says over
// its query API what it has stored.
package jaegertest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long Jaeger may take until it answers queries.
const startTimeout = 30 * time.Second

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
	ports := freePorts(t, 3)
	config := filepath.Join(t.TempDir(), "jaeger.yaml")
	if err := os.WriteFile(config, []byte(configuration(ports)), 0o600); err != nil {
		t.Fatal(err)
	}

	var log bytes.Buffer
	cmd := exec.Command(executable, "--config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // that it ended is the news; why is in its log
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("Jaeger's log:\n%s", log.String())
		}
	})

	j := &Jaeger{
		OTLPEndpoint: "http://" + ports[0],
		Client:       Client{URL: "http://" + ports[1]},
	}
	if err := j.awaitReady(ended); err != nil {
		t.Fatal(err)
	}
	return j
}

// awaitReady polls: Jaeger has no other way to say that its ports are open.
func (j *Jaeger) awaitReady(ended <-chan struct{}) error {
	deadline := time.After(startTimeout)
	for {
		_, err := j.Services()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("start jaeger: it ended before it was ready")
		case <-deadline:
			return fmt.Errorf("start jaeger: not ready after %v: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// configuration is the smallest that takes OTLP at the first address and
// answers queries at the second (HTTP) and third (gRPC).
func configuration(addresses []string) string {
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
`, addresses[0], addresses[1], addresses[2])
}

// freePorts are n loopback addresses that nobody listened on just now.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() // held until all are chosen, so that they differ
		addresses[i] = listener.Addr().String()
	}
	return addresses
}
