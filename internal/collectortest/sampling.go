package collectortest

import (
	"testing"

	"github.com/uspan/uspan/internal/realserver"
)

// SamplingVersion is that of the Collector that BuildSampling makes: the modules
// of later ones with tail sampling are not complete in the module proxy.
const SamplingVersion = "0.140.1"

const samplingBuilder = "go.opentelemetry.io/collector/cmd/builder@v0.140.0"

// samplingManifest has what examples/collector/collector.yaml names.
const samplingManifest = `
dist:
  name: sampler
  output_path: .
  version: ` + SamplingVersion + `
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v0.140.0
processors:
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor v0.140.0
  - gomod: go.opentelemetry.io/collector/processor/memorylimiterprocessor v0.140.0
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor v` + SamplingVersion + `
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v0.140.0
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v1.46.0
`

// BuildSampling returns the path of a statically linked Collector that can do
// tail sampling. The first call on a machine compiles it, which takes minutes.
func BuildSampling(t testing.TB) string {
	t.Helper()
	return realserver.Program{Name: "sampler", Version: SamplingVersion, Make: compileSampling}.Build(t)
}

func compileSampling(dir string) error { return runBuilder(dir, samplingBuilder, samplingManifest) }
