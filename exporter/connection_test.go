package exporter

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/otlptest"
)

// Every mistake is one error when the exporter is opened, that names what is
// wrong and repeats no secret.
func TestBadConfiguration(t *testing.T) {
	dir := t.TempDir()
	noCertificate := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(noCertificate, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	authority := otlptest.NewAuthority(t)
	one := authority.Issue("one", "", time.Now().Add(time.Hour))
	two := authority.Issue("two", "", time.Now().Add(time.Hour))
	const prefix = "OTEL_EXPORTER_OTLP_"
	type environment map[string]string
	tests := []struct {
		where       string
		environment environment // without the prefix
		want        string
	}{
		{where: "ftp://x:1", want: `OTLP endpoint "ftp://x:1": scheme "ftp": want http (plaintext) or https (TLS)`},
		{where: "localhost", want: `OTLP endpoint "localhost": want http://host:port, https://host:port or host:port`},
		{where: ":4317", want: "want http://host:port"},
		{where: "http://", want: "no host"},
		{where: "http://:4318/v1/traces", want: "no host"},
		{where: "http://x:99999", want: `port "99999": want a number from 1 to 65535`},
		{where: "http://x:0/v1/traces", want: `port "0": want a number from 1 to 65535`},
		{where: "x:a", want: `port "a": want a number`},
		{where: "http://x:a", want: `invalid port ":a" after host`},
		{where: "http://user:secret@x", want: "use OTEL_EXPORTER_OTLP_HEADERS"},
		{where: "https://x/v1/traces?key=secret", want: `"https://x/v1/traces": a query or fragment does not belong there: credentials go into`},
		{where: "http://x/v1/traces#secret", want: "a query or fragment does not belong there"},
		{where: "http://x/a%2Fb", want: `path "/a%2Fb": a slash in it cannot be escaped`},
		{where: "grpc://x/v1/traces", want: `path "/v1/traces": OTLP over gRPC has none; over HTTP it goes with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`},
		{where: "unix://run/otel.sock", want: "want unix:///path"},

		{environment: environment{"PROTOCOL": "http/json"}, want: prefix + `PROTOCOL="http/json": uspan does not send JSON: use http/protobuf, which the same endpoints take`},
		{environment: environment{"PROTOCOL": "grpc", "TRACES_PROTOCOL": "http"}, want: prefix + `TRACES_PROTOCOL="http": want grpc or http/protobuf`},
		{environment: environment{"PROTOCOL": "GRPC"}, want: `want grpc or http/protobuf`},
		{
			environment: environment{"PROTOCOL": "grpc", "ENDPOINT": "http://x/otlp"},
			want:        prefix + `ENDPOINT="http://x/otlp": path "/otlp": OTLP over gRPC has none`,
		},
		{
			environment: environment{"TRACES_PROTOCOL": "http/protobuf", "ENDPOINT": "unix:///run/otel.sock"},
			want:        prefix + `ENDPOINT="unix:///run/otel.sock": scheme "unix": OTLP over HTTP goes to http:// or https://`,
		},
		{environment: environment{"ENDPOINT": "127.0.0.1:4317"}, want: prefix + `ENDPOINT="127.0.0.1:4317": want a URL such as http://localhost:4317`},
		{environment: environment{"TRACES_ENDPOINT": "http://user:secret@x:4318"}, want: prefix + `TRACES_ENDPOINT="http://…@x:4318": user and password`},
		{environment: environment{"INSECURE": "yes"}, want: prefix + `INSECURE="yes": want true or false`},
		{environment: environment{"TRACES_COMPRESSION": "zstd"}, want: prefix + `TRACES_COMPRESSION="zstd": want gzip or none`},
		{environment: environment{"TIMEOUT": "10s"}, want: prefix + `TIMEOUT="10s": want a number of milliseconds, 0 for no limit`},
		{environment: environment{"TIMEOUT": "-1"}, want: "want a number of milliseconds"},
		{environment: environment{"HEADERS": "a=b,secret"}, want: prefix + "HEADERS: header 2: want name=value,name=value"},
		{environment: environment{"HEADERS": "a b=secret"}, want: prefix + "HEADERS: header 1: want name=value,name=value"},
		{environment: environment{"TRACES_HEADERS": "a=secret%zz"}, want: prefix + "TRACES_HEADERS: header a: its value is not URL-encoded"},
		{environment: environment{"HEADERS": "a=secret%0Ab:c"}, want: prefix + "HEADERS: header a: its value has characters that a header cannot have"},
		{environment: environment{"CERTIFICATE": filepath.Join(dir, "none.pem")}, want: "no such file or directory"},
		{environment: environment{"CERTIFICATE": noCertificate}, want: "no certificate in it"},
		{environment: environment{"CLIENT_CERTIFICATE": noCertificate, "CLIENT_KEY": noCertificate}, want: prefix + "CLIENT_CERTIFICATE and CLIENT_KEY: "},
		{environment: environment{"CLIENT_CERTIFICATE": one.File, "CLIENT_KEY": two.KeyFile}, want: "private key does not match public key"},
		{
			environment: environment{"TRACES_CLIENT_CERTIFICATE": one.File, "CLIENT_KEY": two.KeyFile},
			want:        prefix + "TRACES_CLIENT_CERTIFICATE and " + prefix + "CLIENT_KEY: tls: private key does not match",
		},
		{environment: environment{"CLIENT_CERTIFICATE": one.File}, want: prefix + "CLIENT_CERTIFICATE: it needs " + prefix + "CLIENT_KEY, too"},
		{environment: environment{"TRACES_CLIENT_KEY": one.KeyFile}, want: prefix + "TRACES_CLIENT_KEY: it needs " + prefix + "CLIENT_CERTIFICATE, too"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			for name, value := range test.environment {
				t.Setenv(prefix+name, value)
			}
			_, err := OpenOTLP(OTLPConfig{Endpoint: test.where, Warn: func(w string) { t.Error(w) }})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error repeats a secret or has several lines: %v", err)
			}
		})
	}
}

func TestConnection(t *testing.T) {
	authority := otlptest.NewAuthority(t)
	client := authority.Issue("client", "", time.Now().Add(time.Hour))
	for name, value := range map[string]string{
		"HEADERS":            "a=lost",
		"TRACES_HEADERS":     " authorization = Bearer%20a%3Db%2C , x-team=shop,empty=",
		"COMPRESSION":        "none",
		"TRACES_COMPRESSION": "gzip",
		"TIMEOUT":            "1",
		"TRACES_TIMEOUT":     "2500",
		"CERTIFICATE":        authority.File(),
		"CLIENT_CERTIFICATE": client.File,
		"TRACES_CLIENT_KEY":  client.KeyFile,
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_"+name, value)
	}
	c, err := resolveConnection("https://x:1", func(w string) { t.Error(w) })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"authorization": "Bearer a=b,", "x-team": "shop", "empty": ""}
	if !maps.Equal(c.headers, want) || !c.gzip || c.timeout != 2500*time.Millisecond {
		t.Errorf("%+v", c)
	}
	if !c.tls.RootCAs.Equal(authority.Pool()) || len(c.tls.Certificates) != 1 {
		t.Errorf("TLS %+v", c.tls)
	}

	var warnings []string
	c, err = resolveConnection("http://x:1", func(w string) { warnings = append(warnings, w) })
	if err != nil || c.tls != nil {
		t.Errorf("%+v, %v", c, err)
	}
	if want := []string{"OTEL_EXPORTER_OTLP_CERTIFICATE is not used: http://x:1 is plaintext (https:// is TLS)"}; !slices.Equal(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
}

func TestMilliseconds(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1500: 1500 * time.Millisecond, math.MaxInt: 9223372036854 * time.Millisecond} {
		if got := milliseconds(n); got != want {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
	}
}

func TestTimeouts(t *testing.T) {
	tests := []struct{ attempt, export, want time.Duration }{
		{10, 30, 10}, {30, 10, 10}, {0, 30, 30}, {10, 0, 10}, {0, 0, 0},
	}
	for _, test := range tests {
		if got := shorter(test.attempt, test.export); got != test.want {
			t.Errorf("of %d and %d: %d, want %d", test.attempt, test.export, got, test.want)
		}
	}
}
