package exporter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// A protocol is one of OTLP's transports, by the name that the
// OTEL_EXPORTER_OTLP_PROTOCOL variables give it.
type protocol string

const (
	protocolGRPC protocol = "grpc"
	protocolHTTP protocol = "http/protobuf"
)

// Ports and path of OTLP, by its specification.
const (
	portGRPC = "4317"
	portHTTP = "4318"
	pathHTTP = "/v1/traces"
)

// An endpoint is where OTLP goes.
type endpoint struct {
	protocol protocol
	// name is what messages call it, a URL without secrets. Over HTTP it is
	// also the one that requests go to.
	name string
	// target is the address as gRPC takes it, empty over HTTP.
	target    string
	plaintext bool
}

// resolveEndpoint is the endpoint at where, or, where that is empty, the one
// that the environment names, or the specification's default.
//
// The protocol of where is the one that it tells itself, by a scheme, a path or
// a well-known port; else the variable's. That of a variable is the variable's
// for protocols; else the one that the endpoint tells. Where nothing tells it,
// it is gRPC.
func resolveEndpoint(where string) (endpoint, error) {
	chosen, _ := variable("PROTOCOL")
	if where != "" {
		e, err := parseAddress(where).endpoint("", protocol(chosen), flagPath)
		if err != nil {
			return endpoint{}, fmt.Errorf("OTLP endpoint %q: %w", shown(where), err)
		}
		return e, nil
	}
	value, name := variable("ENDPOINT")
	if value == "" {
		value = "http://localhost:" + portGRPC
		if protocol(chosen) == protocolHTTP {
			value = "http://localhost:" + portHTTP
		}
	}
	path := basePath
	if name == environmentPrefix+"TRACES_ENDPOINT" {
		path = exactPath
	}
	e, err := parseAddress(value).endpoint(protocol(chosen), "", path)
	if err != nil {
		return endpoint{}, fmt.Errorf("%s=%q: %w", name, shown(value), err)
	}
	return e, nil
}

// How the path of an endpoint becomes that of requests over HTTP. The first two
// are the specification's for OTEL_EXPORTER_OTLP_ENDPOINT and for
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; a flag may leave the path away.
func basePath(path string) string { return strings.TrimRight(path, "/") + pathHTTP }

func exactPath(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func flagPath(path string) string {
	if path == "" || path == "/" {
		return pathHTTP
	}
	return path
}

// An address is an endpoint as it is written.
type address struct {
	// scheme is http, https, grpc, grpcs or unix.
	scheme, host, port, path string
	err                      error
}

// parseAddress takes http://host[:port][/path] (plaintext), https:// (TLS),
// grpc:// and grpcs:// (the same for gRPC), unix:///path, and host:port. The
// last is plaintext on the loopback and where OTEL_EXPORTER_OTLP_INSECURE is
// true, else TLS.
func parseAddress(where string) address {
	if !strings.Contains(where, "://") {
		host, port, err := net.SplitHostPort(where)
		if err != nil || host == "" {
			return address{err: errors.New("want http://host:port, https://host:port or host:port")}
		}
		plaintext := loopback(host)
		if insecure, _ := variable("INSECURE"); insecure != "" {
			plaintext = strings.EqualFold(insecure, "true")
		}
		a := address{scheme: "https", host: host, port: port}
		if plaintext {
			a.scheme = "http"
		}
		return a.checked()
	}
	u, err := url.Parse(where)
	if err != nil {
		// The error repeats the URL, and with it what may be a secret.
		return address{err: errors.Unwrap(err)}
	}
	a := address{scheme: u.Scheme, host: u.Hostname(), port: u.Port(), path: u.Path}
	switch {
	case u.User != nil:
		a.err = errors.New("user and password do not belong there: use OTEL_EXPORTER_OTLP_HEADERS")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		a.err = errors.New("a query or fragment does not belong there: credentials go into OTEL_EXPORTER_OTLP_HEADERS")
	case strings.Contains(strings.ToLower(u.RawPath), "%2f"):
		a.err = fmt.Errorf("path %q: a slash in it cannot be escaped", u.RawPath)
	default:
		return a.checked()
	}
	return a
}

func (a address) checked() address {
	switch a.scheme {
	case "unix":
		if a.host != "" || a.path == "" {
			a.err = errors.New("want unix:///path")
		}
		return a
	case "http", "https", "grpc", "grpcs":
	default:
		a.err = fmt.Errorf("scheme %q: want http (plaintext) or https (TLS)", a.scheme)
		return a
	}
	if a.host == "" {
		a.err = errors.New("no host")
	} else if n, err := strconv.ParseUint(a.port, 10, 16); a.port != "" && (err != nil || n == 0) {
		a.err = fmt.Errorf("port %q: want a number from 1 to 65535", a.port)
	}
	return a
}

// tells is the protocol that the address tells by itself, empty where it could
// be either.
func (a address) tells() protocol {
	switch {
	case a.scheme == "grpc", a.scheme == "grpcs", a.scheme == "unix":
		return protocolGRPC
	case strings.Trim(a.path, "/") != "":
		return protocolHTTP
	case a.port == portGRPC:
		return protocolGRPC
	case a.port == portHTTP:
		return protocolHTTP
	}
	return ""
}

// endpoint is the address by the first protocol of: the one demanded, the one
// that it tells, the one by default, gRPC.
func (a address) endpoint(demanded, byDefault protocol, path func(string) string) (endpoint, error) {
	if a.err != nil {
		return endpoint{}, a.err
	}
	for _, p := range []protocol{demanded, a.tells(), byDefault, protocolGRPC} {
		switch p {
		case protocolGRPC:
			return a.grpc()
		case protocolHTTP:
			return a.http(path)
		}
	}
	panic("unreachable: the last protocol is gRPC")
}

func (a address) grpc() (endpoint, error) {
	e := endpoint{protocol: protocolGRPC, plaintext: a.scheme != "https" && a.scheme != "grpcs"}
	if a.scheme == "unix" {
		e.target = "unix://" + a.path
		e.name = e.target
		return e, nil
	}
	if strings.Trim(a.path, "/") != "" {
		return endpoint{}, fmt.Errorf("path %q: OTLP over gRPC has none; over HTTP it goes with %sPROTOCOL=%s",
			a.path, environmentPrefix, protocolHTTP)
	}
	if a.port == "" {
		a.port = portGRPC
	}
	e.target = net.JoinHostPort(a.host, a.port)
	e.name = webScheme(e.plaintext) + "://" + e.target
	return e, nil
}

func (a address) http(path func(string) string) (endpoint, error) {
	if a.scheme != "http" && a.scheme != "https" {
		return endpoint{}, fmt.Errorf("scheme %q: OTLP over HTTP goes to http:// or https://; over gRPC it goes with %sPROTOCOL=%s",
			a.scheme, environmentPrefix, protocolGRPC)
	}
	host := a.host
	switch {
	case a.port != "":
		host = net.JoinHostPort(a.host, a.port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	u := url.URL{Scheme: a.scheme, Host: host, Path: path(a.path)}
	return endpoint{protocol: protocolHTTP, name: u.String(), plaintext: a.scheme == "http"}, nil
}

func webScheme(plaintext bool) string {
	if plaintext {
		return "http"
	}
	return "https"
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// shown is a URL for messages: without the parts that may hold secrets.
func shown(where string) string {
	rest, start := where, 0
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.Index(rest, "://"); i >= 0 {
		start = i + len("://")
	}
	if i := strings.LastIndexByte(rest, '@'); i >= start {
		rest = rest[:start] + "…" + rest[i:]
	}
	return rest
}
