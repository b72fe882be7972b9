package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/uspan/uspan/exporter"
	"github.com/uspan/uspan/instrument"
)

// A metering tells what uspan does itself as metrics, where the environment asks for
// them.
type metering struct {
	metrics *exporter.Metrics

	mu      sync.Mutex
	trace   *instrument.Trace // nil until there is one
	outputs *outputs
	last    *exporter.Reading // what came of all, at the end
}

// openMetering begins with a trace that there is none of yet.
func openMetering(f *flags) (*metering, error) {
	m := &metering{}
	var err error
	m.metrics, err = exporter.OpenMetrics(exporter.MetricsConfig{Version: version(), Read: m.read, Warn: f.say})
	return m, err
}

// follow is about a trace and its outputs from now on.
func (m *metering) follow(trace *instrument.Trace, o *outputs) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trace, m.outputs = trace, o
}

// end sends the last numbers.
func (m *metering) end(f *flags, last exporter.Reading) {
	m.mu.Lock()
	m.last = &last
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), f.flushTimeout)
	defer cancel()
	if err := m.metrics.Shutdown(ctx); err != nil {
		f.say(fmt.Sprintf("metrics: %v", err))
	}
}

func (m *metering) read(ctx context.Context) (exporter.Reading, error) {
	m.mu.Lock()
	last, trace, o := m.last, m.trace, m.outputs
	m.mu.Unlock()
	switch {
	case last != nil:
		return *last, nil
	case trace == nil:
		return exporter.Reading{}, nil
	}
	status, err := trace.Status(ctx)
	return reading(status.Functions, status.Processes, &status.Summary, o), err
}

func reading(functions, processes int, summary *instrument.Summary, o *outputs) exporter.Reading {
	r := exporter.Reading{Functions: functions, Processes: processes, Spans: summary.Spans,
		Lost: make(map[string]uint64), Outputs: make(map[string]exporter.Stats)}
	for _, c := range kernelCauses(summary) {
		r.Lost[c.why] = c.calls
	}
	for i, opened := range o.all {
		r.Outputs[o.names[i]] = opened.Stats()
	}
	return r
}
