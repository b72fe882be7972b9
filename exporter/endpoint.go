package exporter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// An endpoint is where OTLP goes.
type endpoint struct {
	// name is what messages call it: a URL without secrets.
	name string
	// target is the address as gRPC takes it.
	target    string
	plaintext bool
}

const (
	environmentPrefix = "OTEL_EXPORTER_OTLP_"
	defaultPort       = "4317"
)

// variable is the value of OTEL_EXPORTER_OTLP_TRACES_<name>, else of
// OTEL_EXPORTER_OTLP_<name>, and which one it was.
func variable(name string) (value, full string) {
	for _, full := range []string{environmentPrefix + "TRACES_" + name, environmentPrefix + name} {
		if value := strings.TrimSpace(os.Getenv(full)); value != "" {
			return value, full
		}
	}
	return "", ""
}

// resolveEndpoint is the endpoint at where, or, where that is empty, the one
// that the environment names, or the specification's default.
func resolveEndpoint(where string) (endpoint, error) {
	if where != "" {
		e, err := parseEndpoint(where)
		if err != nil {
			return endpoint{}, fmt.Errorf("OTLP endpoint %q: %w", where, err)
		}
		return e, nil
	}
	value, name := variable("ENDPOINT")
	if value == "" {
		return parseEndpoint("http://localhost:" + defaultPort)
	}
	e, err := parseEndpoint(value)
	if err != nil {
		return endpoint{}, fmt.Errorf("%s=%q: %w", name, value, err)
	}
	return e, nil
}

// parseEndpoint takes http://host[:port] (plaintext), https://host[:port]
// (TLS), unix:///path, and host:port. The last is plaintext on the loopback
// and where OTEL_EXPORTER_OTLP_INSECURE is true, else TLS.
func parseEndpoint(where string) (endpoint, error) {
	if !strings.Contains(where, "://") {
		host, port, err := net.SplitHostPort(where)
		if err != nil || host == "" {
			return endpoint{}, errors.New("want http://host:port, https://host:port or host:port")
		}
		insecure, _ := variable("INSECURE")
		plaintext := loopback(host)
		if insecure != "" {
			plaintext = strings.EqualFold(insecure, "true")
		}
		return tcpEndpoint(host, port, plaintext)
	}
	u, err := url.Parse(where)
	if err != nil {
		// The error repeats the URL, and with it what may be a secret.
		return endpoint{}, errors.Unwrap(err)
	}
	switch {
	case u.Scheme == "unix" && u.Path != "":
		return endpoint{name: where, target: where, plaintext: true}, nil
	case u.Scheme != "http" && u.Scheme != "https":
		return endpoint{}, fmt.Errorf("scheme %q: want http (plaintext) or https (TLS)", u.Scheme)
	case u.Hostname() == "":
		return endpoint{}, errors.New("no host")
	case u.User != nil:
		return endpoint{}, errors.New("user and password do not belong there: use OTEL_EXPORTER_OTLP_HEADERS")
	case strings.TrimSuffix(u.Path, "/") != "":
		return endpoint{}, fmt.Errorf("path %q: OTLP goes out by gRPC, which has no path and usually listens on port %s",
			u.Path, defaultPort)
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return tcpEndpoint(u.Hostname(), port, u.Scheme == "http")
}

func tcpEndpoint(host, port string, plaintext bool) (endpoint, error) {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return endpoint{}, fmt.Errorf("port %q: want a number from 1 to 65535", port)
	}
	target, scheme := net.JoinHostPort(host, port), "https"
	if plaintext {
		scheme = "http"
	}
	return endpoint{name: scheme + "://" + target, target: target, plaintext: plaintext}, nil
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// checkEnvironment finds what is wrong with the variables that the client
// reads. The client would only log it, and then go on without the header or
// the certificate.
func checkEnvironment() error {
	if protocol, name := variable("PROTOCOL"); protocol != "" && protocol != "grpc" {
		return fmt.Errorf("%s=%s: only grpc is there so far", name, protocol)
	}
	checks := []struct {
		name  string
		check func(string) error
	}{
		{"ENDPOINT", func(v string) error {
			_, err := url.Parse(v)
			if err != nil {
				return errors.New("want a URL such as http://localhost:4317")
			}
			return nil
		}},
		{"TIMEOUT", func(v string) error {
			if n, err := strconv.Atoi(v); err != nil || n < 0 {
				return errors.New("want a number of milliseconds")
			}
			return nil
		}},
		{"CERTIFICATE", checkCertificates},
	}
	for _, c := range checks {
		for _, prefix := range []string{environmentPrefix, environmentPrefix + "TRACES_"} {
			value := strings.TrimSpace(os.Getenv(prefix + c.name))
			if value == "" {
				continue
			}
			if err := c.check(value); err != nil {
				return fmt.Errorf("%s%s=%q: %w", prefix, c.name, value, err)
			}
		}
	}
	for _, prefix := range []string{environmentPrefix, environmentPrefix + "TRACES_"} {
		if err := checkHeaders(os.Getenv(prefix + "HEADERS")); err != nil {
			return fmt.Errorf("%sHEADERS: %w", prefix, err)
		}
		certificate, key := os.Getenv(prefix+"CLIENT_CERTIFICATE"), os.Getenv(prefix+"CLIENT_KEY")
		if certificate == "" || key == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(strings.TrimSpace(certificate), strings.TrimSpace(key)); err != nil {
			return fmt.Errorf("%sCLIENT_CERTIFICATE and CLIENT_KEY: %w", prefix, err)
		}
	}
	return nil
}

func checkCertificates(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return errors.New("no certificate in it")
	}
	return nil
}

// checkHeaders never repeats a header in its error: headers hold secrets.
func checkHeaders(value string) error {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	for i, header := range strings.Split(value, ",") {
		name, value, found := strings.Cut(header, "=")
		if !found || !headerName(strings.TrimSpace(name)) {
			return fmt.Errorf("header %d: want name=value,name=value", i+1)
		}
		if _, err := url.PathUnescape(value); err != nil {
			return fmt.Errorf("header %s: its value is not URL-encoded", strings.TrimSpace(name))
		}
	}
	return nil
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
