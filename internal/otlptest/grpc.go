package otlptest

import (
	"context"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // so that requests may be compressed
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"
)

// newGRPCServer is OTLP over gRPC.
func newGRPCServer(r *Receiver, options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append(options, grpc.StatsHandler(wireSize{}))...)
	coltracepb.RegisterTraceServiceServer(server, &service{receiver: r})
	return server
}

type service struct {
	coltracepb.UnimplementedTraceServiceServer
	receiver *Receiver
}

func (s *service) Export(ctx context.Context, message *coltracepb.ExportTraceServiceRequest) (
	*coltracepb.ExportTraceServiceResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	request := Request{Bytes: proto.Size(message), headers: headers}
	if wire, ok := ctx.Value(wireSizeKey{}).(*int); ok {
		request.Wire = *wire
	}
	return s.receiver.take(ctx, message, request)
}

// wireSize notes how many bytes a request had before it was decompressed.
type wireSize struct{}

type wireSizeKey struct{}

func (wireSize) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, wireSizeKey{}, new(int))
}

func (wireSize) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if payload, ok := s.(*stats.InPayload); ok {
		*ctx.Value(wireSizeKey{}).(*int) = payload.CompressedLength
	}
}

func (wireSize) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (wireSize) HandleConn(context.Context, stats.ConnStats)                       {}
