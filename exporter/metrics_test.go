package exporter

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/otlptest"
)

// What uspan does itself goes out as sums, by both protocols, and what went wrong is
// said once.
func TestMetrics(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			receiver := otlptest.StartMetrics(t, protocol == "http/protobuf")
			t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.Endpoint())
			t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
			said := make(chan string, 100)
			var reads atomic.Int32
			m, err := OpenMetrics(MetricsConfig{Version: "v1", Warn: func(text string) { said <- text },
				Read: func(context.Context) (Reading, error) {
					if reads.Add(1) <= 3 {
						return Reading{}, errors.New("not now")
					}
					return Reading{Functions: 3, Processes: 2, Spans: 90, Lost: map[string]uint64{"ring buffer full": 10},
						Outputs: map[string]Stats{"otlp": {Exported: 70, Lost: []Loss{{Cause: QueueFull, Spans: 20}}}}}, nil
				}})
			if err != nil {
				t.Fatal(err)
			}
			for reads.Load() <= 3 {
				time.Sleep(time.Millisecond)
			}
			if err := m.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			close(said)
			var texts []string
			for text := range said {
				texts = append(texts, text)
			}
			if len(texts) != 1 || !strings.Contains(texts[0], "not now") {
				t.Errorf("said: %q", texts)
			}
			want := map[string]int64{
				"uspan.functions": 3, "uspan.processes": 2, "uspan.spans": 90, "uspan.calls.lost{uspan.cause=ring buffer full}": 10,
				"otel.sdk.exporter.span.exported{otel.component.name=otlp}":                       70,
				"otel.sdk.exporter.span.exported{error.type=queue full,otel.component.name=otlp}": 20,
			}
			if diff := cmp.Diff(want, receiver.Last()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Metrics are sent where the environment asks for them, and there alone.
func TestMetricsWanted(t *testing.T) {
	for _, test := range []struct {
		exporter, endpoint, protocol string
		wanted                       bool
		problem                      string
	}{
		{},
		{exporter: "none", endpoint: "http://127.0.0.1:1"},
		{exporter: "otlp", wanted: true},
		{endpoint: "http://127.0.0.1:1", wanted: true},
		{exporter: "prometheus", problem: `OTEL_METRICS_EXPORTER="prometheus": otlp or none is needed`},
		{exporter: "otlp", protocol: "json", problem: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"},
		{endpoint: "127.0.0.1:4317", problem: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"},
		{endpoint: "localhost:4317", problem: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"},
	} {
		t.Setenv("OTEL_METRICS_EXPORTER", test.exporter)
		t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", test.endpoint)
		t.Setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", test.protocol)
		m, err := OpenMetrics(MetricsConfig{Warn: func(string) {}, Read: func(context.Context) (Reading, error) { return Reading{}, nil }})
		if (m != nil) != test.wanted || (err != nil) != (test.problem != "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%+v: %v, %v", test, m, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = m.Shutdown(ended) // nobody is there
	}
}
