package collectortest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/realserver"
)

// Version is the Collector's: the newest whose modules with tail sampling are
// complete in the module proxy.
const Version = "0.161.0"

const (
	builder = "go.opentelemetry.io/collector/cmd/builder@v" + Version
	contrib = "github.com/open-telemetry/opentelemetry-collector-contrib"
	cloud   = "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
)

// manifest names the parts for OpenTelemetry's builder: those of the tests' own
// configuration, of examples/collector, and of docs/many-machines.md. The load
// balancer can ask a cloud for addresses, which none of them does, and takes an
// older client for that, since its own is not in the module proxy.
const manifest = `
dist:
  name: collector
  output_path: .
  version: ` + Version + `
extensions:
  - gomod: ` + contrib + `/extension/bearertokenauthextension v` + Version + `
  - gomod: ` + contrib + `/extension/healthcheckextension v` + Version + `
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v` + Version + `
processors:
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor v` + Version + `
  - gomod: go.opentelemetry.io/collector/processor/memorylimiterprocessor v` + Version + `
  - gomod: ` + contrib + `/processor/tailsamplingprocessor v` + Version + `
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v` + Version + `
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v` + Version + `
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v` + Version + `
  - gomod: ` + contrib + `/exporter/loadbalancingexporter v` + Version + `
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v1.67.0
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v1.67.0
replaces:
  - ` + cloud + ` => ` + cloud + ` v1.40.2
`

// Build returns the path of a statically linked Collector. The first call on a
// machine compiles it, which takes minutes.
func Build(t testing.TB) string {
	t.Helper()
	return realserver.Program{Name: "collector", Version: Version, Make: compile}.Build(t)
}

// compile has OpenTelemetry's builder make what the manifest names.
func compile(dir string) error {
	file := filepath.Join(dir, "builder.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return err
	}
	_, err := realserver.Go(dir, "run", builder, "--config", file)
	return err
}
