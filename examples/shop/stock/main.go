// Stock is the shop's stock: a gRPC service on a SQL database that it carries
// within itself. It knows nothing of being traced.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"shop/stockpb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9090", "the address to serve gRPC at")
	check := flag.Bool("check", false, "ask the service at that address whether it is well, and end")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := serve
	if *check {
		do = checkHealth
	}
	if err := do(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "stock:", err)
		os.Exit(1)
	}
}

// serve serves until the context ends.
func serve(ctx context.Context, address string) error {
	dir, err := os.MkdirTemp("", "stock-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := openStore(ctx, filepath.Join(dir, "stock.db"))
	if err != nil {
		return err
	}
	defer store.close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}

	s := grpc.NewServer()
	stockpb.RegisterStockServer(s, &server{store: store})
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	go keepStocked(ctx, store)
	go func() {
		<-ctx.Done()
		s.Stop()
	}()
	slog.Info("stock", "address", listener.Addr().String(), "pid", os.Getpid())
	return s.Serve(listener)
}

// keepStocked fills the shelves now and then, until the context ends.
func keepStocked(ctx context.Context, store *store) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			filled, err := store.restock(ctx)
			if err != nil {
				slog.Warn("restock", "error", err)
			} else {
				slog.Info("restock", "products", filled)
			}
		}
	}
}

func checkHealth(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	reply, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil && reply.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = errors.New(reply.Status.String())
	}
	return err
}
