package otlptest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A MetricsReceiver is an OTLP endpoint on the loopback that takes sums.
type MetricsReceiver struct {
	colmetricspb.UnimplementedMetricsServiceServer
	scheme, address string

	mu   sync.Mutex
	last map[string]int64
}

// StartMetrics starts a receiver of metrics in plaintext, over gRPC or HTTP, on a free
// port. It ends with the test.
func StartMetrics(t testing.TB, overHTTP bool) *MetricsReceiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &MetricsReceiver{scheme: "http", address: listener.Addr().String(), last: make(map[string]int64)}
	if overHTTP {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/metrics", r.serve)
		server := &http.Server{Handler: mux}
		go func() { _ = server.Serve(listener) }() // until the test ends
		t.Cleanup(func() { _ = server.Close() })
		return r
	}
	server := grpc.NewServer()
	colmetricspb.RegisterMetricsServiceServer(server, r)
	go func() { _ = server.Serve(listener) }() // until the test ends
	t.Cleanup(server.Stop)
	return r
}

// Endpoint is the receiver's URL.
func (r *MetricsReceiver) Endpoint() string { return r.scheme + "://" + r.address }

// Last are the latest sums, by their names and attributes: `name{key=value}`.
func (r *MetricsReceiver) Last() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.last)
}

// Export takes a request over gRPC.
func (r *MetricsReceiver) Export(_ context.Context, message *colmetricspb.ExportMetricsServiceRequest) (
	*colmetricspb.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range message.ResourceMetrics {
		for _, scope := range resource.ScopeMetrics {
			for _, metric := range scope.Metrics {
				for _, point := range metric.GetSum().GetDataPoints() {
					r.last[metric.Name+attributesOf(point.Attributes)] = point.GetAsInt()
				}
			}
		}
	}
	return &colmetricspb.ExportMetricsServiceResponse{}, nil
}

// serve takes a request over HTTP.
func (r *MetricsReceiver) serve(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	message := &colmetricspb.ExportMetricsServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(body, message)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = r.Export(request.Context(), message) // takes all
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func attributesOf(attributes []*commonpb.KeyValue) string {
	if len(attributes) == 0 {
		return ""
	}
	var all []string
	for _, a := range attributes {
		all = append(all, fmt.Sprintf("%s=%s", a.Key, a.Value.GetStringValue()))
	}
	slices.Sort(all)
	return "{" + strings.Join(all, ",") + "}"
}
