package collectortest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/realserver"
)

// Version is the Collector's.
const Version = "0.165.0"

const builder = "go.opentelemetry.io/collector/cmd/builder@v" + Version

// manifest names the parts for OpenTelemetry's builder.
const manifest = `
dist:
  name: collector
  output_path: .
  version: ` + Version + `
extensions:
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension v` + Version + `
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v` + Version + `
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v` + Version + `
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v` + Version + `
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v` + Version + `
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v1.71.0
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v1.71.0
`

// Build returns the path of a statically linked Collector. The first call on a
// machine compiles it, which takes minutes.
func Build(t testing.TB) string {
	t.Helper()
	return realserver.Program{Name: "collector", Version: Version, Make: compile}.Build(t)
}

func compile(dir string) error { return runBuilder(dir, builder, manifest) }

// runBuilder has OpenTelemetry's builder make what a manifest names.
func runBuilder(dir, builder, manifest string) error {
	file := filepath.Join(dir, "builder.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return err
	}
	_, err := realserver.Go(dir, "run", builder, "--config", file)
	return err
}
