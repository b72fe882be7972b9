// Front is the shop's front: an HTTP service in front of the stock service. It
// knows nothing of being traced.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"shop/health"
	"shop/stockpb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the address to serve HTTP at")
	stock := flag.String("stock", "127.0.0.1:9090", "the address of the stock service")
	check := flag.Bool("check", false, "ask the service at that address whether it is well, and end")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *check {
		err = health.Check("http://" + *listen + "/health")
	} else {
		err = serve(ctx, *listen, *stock)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "front:", err)
		os.Exit(1)
	}
}

// A shop answers the customers.
type shop struct {
	pages    *http.ServeMux
	stock    stockpb.StockClient
	points   *points
	receipts chan<- receipt
}

func newShop(stock stockpb.StockClient) *shop {
	receipts := make(chan receipt, 100)
	for range 2 {
		go sendReceipts(receipts)
	}
	s := &shop{http.NewServeMux(), stock, newPoints(), receipts}
	s.pages.HandleFunc("GET /products/{sku}", s.product)
	s.pages.HandleFunc("POST /orders", s.order)
	return s
}

// ServeHTTP answers for pages that panic, too.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if recover() != nil {
			http.Error(w, "something went wrong", http.StatusInternalServerError)
		}
	}()
	s.pages.ServeHTTP(w, r)
}

// serve serves until the context ends.
func serve(ctx context.Context, address, stock string) error {
	connection, err := grpc.NewClient(stock, grpc.WithTransportCredentials(insecure.NewCredentials()),
		// No name server has a configuration of the stock service, and one that does
		// not answer that holds up the first connection for seconds.
		grpc.WithDisableServiceConfig())
	if err != nil {
		return err
	}
	defer connection.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/", newShop(stockpb.NewStockClient(connection)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	slog.Info("front", "address", listener.Addr().String(), "pid", os.Getpid())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
