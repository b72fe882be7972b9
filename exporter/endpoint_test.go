package exporter

import (
	"strings"
	"testing"
)

func TestEndpoint(t *testing.T) {
	tests := []struct {
		where, protocol string // the flag, and the variable for protocols
		want            string
	}{
		{"", "", "grpc http://localhost:4317"},
		{"", "grpc", "grpc http://localhost:4317"},
		{"", "http/protobuf", "http/protobuf http://localhost:4318/v1/traces"},

		// The variable decides where the URL leaves it open.
		{"http://localhost", "", "grpc http://localhost:4317"},
		{"http://localhost", "http/protobuf", "http/protobuf http://localhost/v1/traces"},
		{"https://example.com", "", "grpc https://example.com:4317"},
		{"https://example.com/", "http/protobuf", "http/protobuf https://example.com/v1/traces"},
		{"https://[::1]:443", "", "grpc https://[::1]:443"},
		{"https://[::1]:443", "http/protobuf", "http/protobuf https://[::1]:443/v1/traces"},
		{"https://[::1]", "http/protobuf", "http/protobuf https://[::1]/v1/traces"},
		{"127.0.0.1:1", "", "grpc http://127.0.0.1:1"},
		{"127.0.0.1:1", "http/protobuf", "http/protobuf http://127.0.0.1:1/v1/traces"},

		// A well-known port, a path, a scheme tell the protocol.
		{"http://jaeger:4317/", "http/protobuf", "grpc http://jaeger:4317"},
		{"http://jaeger:4318", "grpc", "http/protobuf http://jaeger:4318/v1/traces"},
		{"http://jaeger:4318/", "", "http/protobuf http://jaeger:4318/v1/traces"},
		{"localhost:4317", "http/protobuf", "grpc http://localhost:4317"},
		{"[::1]:4318", "", "http/protobuf http://[::1]:4318/v1/traces"},
		{"collector:4317", "", "grpc https://collector:4317"},
		{"collector:4318", "", "http/protobuf https://collector:4318/v1/traces"},
		{"http://localhost:4317/v1/traces", "grpc", "http/protobuf http://localhost:4317/v1/traces"},
		{"https://example.com/otlp/traces/", "", "http/protobuf https://example.com/otlp/traces/"},
		{"https://example.com/a b", "", "http/protobuf https://example.com/a%20b"},
		{"grpc://localhost:4318", "http/protobuf", "grpc http://localhost:4318"},
		{"grpc://localhost", "", "grpc http://localhost:4317"},
		{"grpcs://example.com:443", "http/protobuf", "grpc https://example.com:443"},
		{"unix:///run/otel.sock", "http/protobuf", "grpc unix:///run/otel.sock"},
	}
	for _, test := range tests {
		t.Run(test.where+" "+test.protocol, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", test.protocol)
			e, err := resolveEndpoint(test.where)
			if got := string(e.protocol) + " " + e.name; err != nil || got != test.want {
				t.Fatalf("%s, %v, want %s", got, err, test.want)
			}
			if plaintext := !strings.HasPrefix(e.name, "https:"); e.plaintext != plaintext {
				t.Errorf("%s: plaintext %t", e.name, e.plaintext)
			}
			target := ""
			if e.protocol == protocolGRPC {
				target = strings.TrimPrefix(strings.TrimPrefix(e.name, "http://"), "https://")
			}
			if e.target != target {
				t.Errorf("target %q, want %q", e.target, target)
			}
		})
	}
}

// The rules for paths are the specification's: a base endpoint gets one
// appended, that for traces is taken as it is.
func TestEndpointFromEnvironment(t *testing.T) {
	const general, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	const generalProtocol, tracesProtocol = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	tests := []struct {
		environment string
		where, want string
	}{
		{general + "=http://general:1", "", "grpc http://general:1"},
		{general + "=http://general:1 " + generalProtocol + "=http/protobuf", "", "http/protobuf http://general:1/v1/traces"},
		{general + "=http://general:1/ " + generalProtocol + "=http/protobuf", "", "http/protobuf http://general:1/v1/traces"},
		{general + "=http://general:1/otlp// " + generalProtocol + "=http/protobuf", "", "http/protobuf http://general:1/otlp/v1/traces"},
		{general + "=http://general:1 " + generalProtocol + "=grpc " + tracesProtocol + "=http/protobuf", "", "http/protobuf http://general:1/v1/traces"},
		{general + "=http://general:1 " + traces + "=http://other:2/x " + tracesProtocol + "=http/protobuf", "", "http/protobuf http://other:2/x"},
		{traces + "=http://other:2 " + generalProtocol + "=http/protobuf", "", "http/protobuf http://other:2/"},
		{traces + "=http://other:4317/v1/traces " + generalProtocol + "=http/protobuf", "", "http/protobuf http://other:4317/v1/traces"},
		{traces + "=http://other:2/v1/traces/ " + generalProtocol + "=http/protobuf", "", "http/protobuf http://other:2/v1/traces/"},
		{general + "=http://general:4318 " + generalProtocol + "=grpc", "", "grpc http://general:4318"},

		// Without a protocol, the endpoint tells it.
		{general + "=http://general:4318", "", "http/protobuf http://general:4318/v1/traces"},
		{general + "=https://general/otlp", "", "http/protobuf https://general/otlp/v1/traces"},
		{traces + "=https://general/otlp", "", "http/protobuf https://general/otlp"},
		{general + "=https://general", "", "grpc https://general:4317"},

		{general + "=collector:2", "", "grpc https://collector:2"},
		{general + "=collector:2 OTEL_EXPORTER_OTLP_INSECURE=true", "", "grpc http://collector:2"},
		{general + "=https://collector:2 OTEL_EXPORTER_OTLP_INSECURE=true", "", "grpc https://collector:2"},

		// A flag wins.
		{general + "=http://general:1/otlp " + generalProtocol + "=http/protobuf", "http://flag:3", "http/protobuf http://flag:3/v1/traces"},
		{traces + "=http://other:4318/v1/traces " + generalProtocol + "=http/protobuf", "http://flag:4317", "grpc http://flag:4317"},
	}
	for _, test := range tests {
		t.Run(test.environment, func(t *testing.T) {
			for _, assignment := range strings.Fields(test.environment) {
				name, value, _ := strings.Cut(assignment, "=")
				t.Setenv(name, value)
			}
			e, err := resolveEndpoint(test.where)
			if got := string(e.protocol) + " " + e.name; err != nil || got != test.want {
				t.Errorf("%s, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"http://host:1/path":               "http://host:1/path",
		"host:1":                           "host:1",
		"https://user:pass@host/p?key=abc": "https://…@host/p",
		"user:p://ss@host":                 "user:p://…@host",
		"pass@host:1":                      "…@host:1",
	} {
		if got := shown(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}
