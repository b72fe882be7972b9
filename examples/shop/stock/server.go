package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"shop/stockpb"
)

type server struct {
	stockpb.UnimplementedStockServer
	store *store
}

func (s *server) Product(ctx context.Context, req *stockpb.ProductRequest) (*stockpb.ProductReply, error) {
	product, err := s.store.product(ctx, req.Sku)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, status.Errorf(codes.NotFound, "no product %q", req.Sku)
	}
	return product, err
}

// Reserve says what could be bought instead where there is not enough.
func (s *server) Reserve(ctx context.Context, req *stockpb.ReserveRequest) (*stockpb.ReserveReply, error) {
	cents, err := s.store.reserve(ctx, req.Sku, req.Quantity)
	if errors.Is(err, errOutOfStock) {
		slog.Info("out of stock", "order", req.Order, "sku", req.Sku)
		instead, err := s.store.alternatives(ctx, req.Sku)
		if err != nil {
			return nil, err
		}
		return nil, status.Errorf(codes.FailedPrecondition, "%s is out of stock, others buy %s", req.Sku, strings.Join(instead, ", "))
	}
	if err != nil {
		return nil, err
	}
	return &stockpb.ReserveReply{Cents: cents}, nil
}
