// Package stockpb is how the front talks to the stock service, generated from
// stock.proto with protoc of Debian's protobuf-compiler.
package stockpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative stock.proto
