package exporter

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// A Reading is how uspan is at a moment; the numbers of spans and losses are of all up
// to then.
type Reading struct {
	// Functions and Processes are traced now.
	Functions, Processes int
	// Spans were handed to the outputs.
	Spans uint64
	// Lost are calls that gave no span, by cause.
	Lost map[string]uint64
	// Outputs say what became of the spans, by the output's name.
	Outputs map[string]Stats
}

// MetricsConfig is what OpenMetrics needs to know.
type MetricsConfig struct {
	// Version is that of uspan.
	Version string
	// Read is asked at each interval, from a goroutine of its own. Where it fails,
	// nothing is sent that time.
	Read func(context.Context) (Reading, error)
	// Warn is told, in one line and once for each, what went wrong.
	Warn func(string)
}

// Metrics are those of uspan itself, sent by OTLP.
type Metrics struct{ provider *sdkmetric.MeterProvider }

// OpenMetrics starts sending metrics of uspan itself, where the environment asks for
// it: OTEL_METRICS_EXPORTER=otlp, or an OTEL_EXPORTER_OTLP_METRICS_ENDPOINT. Else it
// returns nil, on which Shutdown does nothing. All else is as the variables have it
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/), the interval in
// OTEL_METRIC_EXPORT_INTERVAL. An error is about these.
func OpenMetrics(config MetricsConfig) (*Metrics, error) {
	wanted, err := metricsWanted()
	if !wanted || err != nil {
		return nil, err
	}
	exporter, err := newMetricsExporter()
	if err != nil {
		return nil, fmt.Errorf("start OTLP client for metrics: %w", err)
	}
	var said sync.Map
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if errors.Is(err, context.Canceled) {
			return // what was under way when it ended: the last numbers follow
		}
		if _, before := said.LoadOrStore(err.Error(), true); !before {
			config.Warn("metrics: " + explained(err))
		}
	}))
	res, err := resource.New(context.Background(), resource.WithHost(), resource.WithProcessPID(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "uspan"), attribute.String("service.version", config.Version)))
	if err != nil {
		config.Warn(fmt.Sprintf("metrics: %v", err)) // what could be found out is there
	}
	m := &Metrics{sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))}
	return m, m.observe(config)
}

// Shutdown sends the last numbers, and ends.
func (m *Metrics) Shutdown(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return m.provider.Shutdown(ctx)
}

// metricsWanted says whether the environment asks for metrics. By the specification
// they would go out without being asked for, to endpoints that take none, as Jaeger.
func metricsWanted() (bool, error) {
	switch value := strings.TrimSpace(os.Getenv("OTEL_METRICS_EXPORTER")); value {
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	case "":
		return os.Getenv(environmentPrefix+metricsInfix+"ENDPOINT") != "", nil
	default:
		return false, fmt.Errorf("OTEL_METRICS_EXPORTER=%q: otlp or none is needed", shown(value))
	}
}

func newMetricsExporter() (sdkmetric.Exporter, error) {
	if err := checkEnvironment(metricsInfix); err != nil {
		return nil, err
	}
	if value, name := variableOf(metricsInfix, "ENDPOINT"); value != "" {
		if at, _ := url.Parse(value); at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
			return nil, fmt.Errorf("%s=%q: for metrics, want a URL such as http://localhost:4317", name, shown(value))
		}
	}
	if value, _ := variableOf(metricsInfix, "PROTOCOL"); protocol(value) == protocolHTTP {
		return otlpmetrichttp.New(context.Background())
	}
	return otlpmetricgrpc.New(context.Background())
}

// observe registers what is measured.
func (m *Metrics) observe(config MetricsConfig) error {
	meter := m.provider.Meter("github.com/uspan/uspan", metric.WithInstrumentationVersion(config.Version))
	var failed error
	keep := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	gauge := func(name, unit, what string) metric.Int64Observable {
		made, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		keep(err)
		return made
	}
	counter := func(name, unit, what string) metric.Int64Observable {
		made, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		keep(err)
		return made
	}
	functions := gauge("uspan.functions", "{function}", "Functions that are traced")
	processes := gauge("uspan.processes", "{process}", "Processes that are traced")
	spans := counter("uspan.spans", "{span}", "Spans that were handed to the outputs")
	lost := counter("uspan.calls.lost", "{call}", "Calls that gave no span, by cause")
	// https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
	exported := counter("otel.sdk.exporter.span.exported", "{span}", "Spans that an output is done with; those with an error.type were lost")
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		r, err := config.Read(ctx)
		if err != nil {
			return err
		}
		set := func(of metric.Int64Observable, n uint64, attributes ...attribute.KeyValue) {
			o.ObserveInt64(of, int64(n), metric.WithAttributes(attributes...))
		}
		set(functions, uint64(r.Functions))
		set(processes, uint64(r.Processes))
		set(spans, r.Spans)
		for cause, n := range r.Lost {
			set(lost, n, attribute.String("uspan.cause", cause))
		}
		for name, stats := range r.Outputs {
			of := attribute.String("otel.component.name", name)
			set(exported, stats.Exported, of)
			for _, loss := range stats.Lost {
				set(exported, loss.Spans, of, attribute.String("error.type", string(loss.Cause)))
			}
		}
		return nil
	}, functions, processes, spans, lost, exported)
	keep(err)
	return failed
}
