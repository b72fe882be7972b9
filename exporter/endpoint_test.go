package exporter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEndpoint(t *testing.T) {
	tests := []struct {
		where, name, target string
		plaintext           bool
	}{
		{"", "http://localhost:4317", "localhost:4317", true},
		{"http://localhost", "http://localhost:4317", "localhost:4317", true},
		{"http://jaeger:4317/", "http://jaeger:4317", "jaeger:4317", true},
		{"https://example.com", "https://example.com:4317", "example.com:4317", false},
		{"https://[::1]:443", "https://[::1]:443", "[::1]:443", false},
		{"localhost:4317", "http://localhost:4317", "localhost:4317", true},
		{"127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:1", true},
		{"[::1]:4317", "http://[::1]:4317", "[::1]:4317", true},
		{"collector:4317", "https://collector:4317", "collector:4317", false},
		{"unix:///run/otel.sock", "unix:///run/otel.sock", "unix:///run/otel.sock", true},
	}
	for _, test := range tests {
		got, err := resolveEndpoint(test.where)
		if want := (endpoint{test.name, test.target, test.plaintext}); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", test.where, got, err, want)
		}
	}
}

func TestEndpointFromEnvironment(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1")
	if got, err := resolveEndpoint(""); err != nil || got.name != "http://general:1" {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:2")
	if got, err := resolveEndpoint(""); err != nil || got.name != "https://collector:2" {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
	if got, err := resolveEndpoint(""); err != nil || got.name != "http://collector:2" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := resolveEndpoint("http://flag:3"); err != nil || got.name != "http://flag:3" {
		t.Errorf("%+v, %v: a flag wins", got, err)
	}
}

// Every mistake is one error when the exporter is opened, that names what is
// wrong and repeats no secret.
func TestBadConfiguration(t *testing.T) {
	dir := t.TempDir()
	noCertificate := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(noCertificate, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		where       string
		environment map[string]string
		want        string
	}{
		{where: "ftp://x:1", want: `OTLP endpoint "ftp://x:1": scheme "ftp": want http (plaintext) or https (TLS)`},
		{where: "localhost", want: `OTLP endpoint "localhost": want http://host:port, https://host:port or host:port`},
		{where: ":4317", want: "want http://host:port"},
		{where: "http://", want: "no host"},
		{where: "http://x:99999", want: `port "99999": want a number from 1 to 65535`},
		{where: "http://x:a", want: `invalid port ":a" after host`},
		{where: "http://user:pass@x", want: "use OTEL_EXPORTER_OTLP_HEADERS"},
		{where: "http://localhost:4318/v1/traces", want: `path "/v1/traces": OTLP goes out by gRPC`},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
			want:        "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf: only grpc is there so far",
		},
		{
			environment: map[string]string{
				"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
			},
			want: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json: only grpc is there so far",
		},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317"},
			want:        `OTEL_EXPORTER_OTLP_ENDPOINT="127.0.0.1:4317": want a URL such as http://localhost:4317`,
		},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"},
			want:        `OTEL_EXPORTER_OTLP_TIMEOUT="10s": want a number of milliseconds`,
		},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=b,secret"},
			want:        "OTEL_EXPORTER_OTLP_HEADERS: header 2: want name=value,name=value",
		},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=secret%zz"},
			want:        "OTEL_EXPORTER_OTLP_TRACES_HEADERS: header a: its value is not URL-encoded",
		},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": filepath.Join(dir, "none.pem")},
			want:        "no such file or directory",
		},
		{
			environment: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": noCertificate},
			want:        "no certificate in it",
		},
		{
			environment: map[string]string{
				"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": noCertificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY": noCertificate,
			},
			want: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and CLIENT_KEY: ",
		},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			_, err := OpenOTLP(OTLPConfig{Endpoint: test.where, Warn: func(w string) { t.Error(w) }})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if len(test.environment) > 0 && strings.Contains(err.Error(), "secret") {
				t.Errorf("error repeats a secret: %v", err)
			}
		})
	}
}
