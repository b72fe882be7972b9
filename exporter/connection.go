package exporter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// A connection is all that the OTEL_EXPORTER_OTLP_* variables say, read in one
// place, so that it means the same by both protocols:
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
type connection struct {
	endpoint
	// headers go with every request.
	headers map[string]string
	// tls is nil where the endpoint is plaintext.
	tls  *tls.Config
	gzip bool
	// timeout bounds one attempt; 0 does not.
	timeout time.Duration
}

const (
	environmentPrefix = "OTEL_EXPORTER_OTLP_"
	// defaultTimeout is the specification's.
	defaultTimeout = 10 * time.Second
)

// What the variables of one signal alone have behind environmentPrefix.
const tracesInfix, metricsInfix = "TRACES_", "METRICS_"

// variable is variableOf for traces.
func variable(name string) (value, full string) { return variableOf(tracesInfix, name) }

// variableOf is the value of OTEL_EXPORTER_OTLP_<infix><name>, else of
// OTEL_EXPORTER_OTLP_<name>, and which one it was.
func variableOf(infix, name string) (value, full string) {
	for _, full := range []string{environmentPrefix + infix + name, environmentPrefix + name} {
		if value := strings.TrimSpace(os.Getenv(full)); value != "" {
			return value, full
		}
	}
	return "", ""
}

// resolveConnection is the connection to where, or to the endpoint that the
// environment names. An error is a mistake of the user's.
func resolveConnection(where string, warn func(string)) (connection, error) {
	if err := checkEnvironment(tracesInfix); err != nil {
		return connection{}, err
	}
	endpoint, err := resolveEndpoint(where)
	if err != nil {
		return connection{}, err
	}
	c := connection{endpoint: endpoint, timeout: defaultTimeout}
	if value, _ := variable("HEADERS"); value != "" {
		c.headers, _ = parseHeaders(value) // checked
	}
	if value, _ := variable("COMPRESSION"); strings.EqualFold(value, "gzip") {
		c.gzip = true
	}
	if value, _ := variable("TIMEOUT"); value != "" {
		n, _ := strconv.Atoi(value) // checked
		c.timeout = milliseconds(n)
	}
	config, name, err := tlsFromEnvironment()
	switch {
	case err != nil:
		return connection{}, err
	case !c.plaintext:
		c.tls = config
	case name != "":
		warn(fmt.Sprintf("%s is not used: %s is plaintext (https:// is TLS)", name, c.name))
	}
	return c, nil
}

// tlsFromEnvironment is how the server is verified, and who uspan says it is.
// It also names a variable that had a part in it.
func tlsFromEnvironment() (config *tls.Config, name string, err error) {
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	certificate, certificateName := variable("CLIENT_CERTIFICATE")
	key, keyName := variable("CLIENT_KEY")
	switch {
	case certificate != "" && key == "":
		return nil, "", fmt.Errorf("%s: it needs %sCLIENT_KEY, too", certificateName, environmentPrefix)
	case certificate == "" && key != "":
		return nil, "", fmt.Errorf("%s: it needs %sCLIENT_CERTIFICATE, too", keyName, environmentPrefix)
	case certificate != "":
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, "", fmt.Errorf("%s and %s: %w", certificateName, keyName, err)
		}
		config.Certificates, name = []tls.Certificate{pair}, certificateName
	}
	if file, fileName := variable("CERTIFICATE"); file != "" {
		config.RootCAs, err = readCertificates(file)
		if err != nil {
			return nil, "", fmt.Errorf("%s=%q: %w", fileName, file, err)
		}
		name = fileName
	}
	return config, name, nil
}

// checkEnvironment finds what is wrong with the variables of a signal, those that others
// take precedence over, too: the clients read them again, and would log a
// mistake in their own way and go on without.
func checkEnvironment(infix string) error {
	checks := []struct {
		name  string
		check func(string) error
	}{
		{"PROTOCOL", checkProtocol},
		{"ENDPOINT", checkURL},
		{"INSECURE", oneOf("true", "false")},
		{"COMPRESSION", oneOf("gzip", "none")},
		{"TIMEOUT", checkTimeout},
		{"CERTIFICATE", checkCertificates},
	}
	for _, prefix := range []string{environmentPrefix, environmentPrefix + infix} {
		for _, c := range checks {
			value := strings.TrimSpace(os.Getenv(prefix + c.name))
			if value == "" {
				continue
			}
			if err := c.check(value); err != nil {
				return fmt.Errorf("%s%s=%q: %w", prefix, c.name, shown(value), err)
			}
		}
		if value := strings.TrimSpace(os.Getenv(prefix + "HEADERS")); value != "" {
			if _, err := parseHeaders(value); err != nil {
				return fmt.Errorf("%sHEADERS: %w", prefix, err)
			}
		}
		certificate := strings.TrimSpace(os.Getenv(prefix + "CLIENT_CERTIFICATE"))
		key := strings.TrimSpace(os.Getenv(prefix + "CLIENT_KEY"))
		if certificate == "" || key == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
			return fmt.Errorf("%sCLIENT_CERTIFICATE and CLIENT_KEY: %w", prefix, err)
		}
	}
	return nil
}

func checkProtocol(value string) error {
	switch protocol(value) {
	case protocolGRPC, protocolHTTP:
		return nil
	case "http/json":
		return errors.New("uspan does not send JSON: use http/protobuf, which the same endpoints take")
	}
	return errors.New("want grpc or http/protobuf")
}

func checkURL(value string) error {
	if _, err := url.Parse(value); err != nil {
		return errors.New("want a URL such as http://localhost:4317")
	}
	return nil
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		for _, v := range values {
			if strings.EqualFold(value, v) {
				return nil
			}
		}
		return errors.New("want " + strings.Join(values, " or "))
	}
}

func checkTimeout(value string) error {
	if n, err := strconv.Atoi(value); err != nil || n < 0 {
		return errors.New("want a number of milliseconds, 0 for no limit")
	}
	return nil
}

func checkCertificates(file string) error {
	_, err := readCertificates(file)
	return err
}

func readCertificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}

// parseHeaders never repeats a value in its error: headers hold secrets.
func parseHeaders(list string) (map[string]string, error) {
	headers := make(map[string]string)
	for i, header := range strings.Split(list, ",") {
		name, value, found := strings.Cut(header, "=")
		name = strings.TrimSpace(name)
		if !found || !headerName(name) {
			return nil, fmt.Errorf("header %d: want name=value,name=value", i+1)
		}
		value, err := url.PathUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("header %s: its value is not URL-encoded", name)
		}
		value = strings.TrimSpace(value)
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			return nil, fmt.Errorf("header %s: its value has characters that a header cannot have", name)
		}
		headers[name] = value
	}
	return headers, nil
}

// headerName tells whether name is a token as HTTP defines it (RFC 9110, 5.6.2).
func headerName(name string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, c := range name {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && !strings.ContainsRune(marks, c) {
			return false
		}
	}
	return name != ""
}
