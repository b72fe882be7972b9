// Package collectortest runs a real OpenTelemetry Collector for tests: Build
// makes the executable from its published modules, Run runs it with a
// configuration, and Start with one on loopback that is as strict as those are
// that stand in the open: it wants to know who sends, and takes nothing that is
// not compressed.
package collectortest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/realserver"
)

// A Config is how a Collector is to be run.
type Config struct {
	// Authority issued the certificates of its clients, Certificate and Key are
	// its own. All are files.
	Authority, Certificate, Key string
	// Token is what clients have to say in the header Authorization, behind
	// "Bearer ".
	Token string
	// GRPC and HTTP are the endpoints in plaintext that it passes everything on
	// to, both of them.
	GRPC, HTTP string
}

// A Collector is a running one, that ends with its test.
type Collector struct {
	// GRPC and HTTP are where it takes spans, the latter without the path.
	GRPC, HTTP string
	*realserver.Server
}

// Start runs a Collector until the test ends, and returns when it is ready.
func Start(t testing.TB, config Config) *Collector {
	t.Helper()
	addresses := realserver.FreeAddresses(t, 2)
	server := Run(t, config.yaml(addresses[0], addresses[1]), addresses...)
	return &Collector{"https://" + addresses[0], "https://" + addresses[1], server}
}

// Run runs a Collector with a configuration until the test ends, and returns when
// it listens at the addresses that this names.
func Run(t testing.TB, yaml string, addresses ...string) *realserver.Server {
	t.Helper()
	executable := Build(t)
	file := filepath.Join(t.TempDir(), "collector.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	listens := func() error {
		for _, address := range addresses {
			connection, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			_ = connection.Close()
		}
		return nil
	}
	return realserver.Start(t, listens, executable, "--config", "file:"+file)
}

// yaml has no queues: what the Collector has taken, it has passed on.
func (c Config) yaml(grpc, http string) string {
	security := fmt.Sprintf(`
        auth:
          authenticator: bearertokenauth
        tls:
          cert_file: %s
          key_file: %s
          client_ca_file: %s`, c.Certificate, c.Key, c.Authority)
	return fmt.Sprintf(`
extensions:
  bearertokenauth:
    token: %q
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: %s%s
      http:
        endpoint: %s
        compression_algorithms: [gzip]%s
exporters:
  debug:
    verbosity: normal
  otlp_grpc:
    endpoint: %s
    tls: {insecure: true}
    sending_queue: {enabled: false}
  otlp_http:
    traces_endpoint: %s
    sending_queue: {enabled: false}
service:
  extensions: [bearertokenauth]
  telemetry:
    metrics: {level: none}
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [debug, otlp_grpc, otlp_http]
`, c.Token, grpc, security, http, security, c.GRPC, c.HTTP)
}
