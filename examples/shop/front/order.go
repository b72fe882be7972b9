package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"shop/stockpb"
)

// An order is what a customer wants to buy.
type order struct {
	ID       string `json:"-"`
	Customer string
	Lines    []line
}

type line struct {
	SKU      string
	Quantity int64
}

// An invoice says what it costs.
type invoice struct{ Order, Total string }

var orders atomic.Int64

// order sells what there is of it, or nothing.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	o := &order{ID: fmt.Sprintf("order-%d", orders.Add(1))}
	if err := json.NewDecoder(r.Body).Decode(o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := validate(o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	total, err := s.reserve(r.Context(), o)
	if err != nil {
		fail(w, err)
		return
	}
	_ = s.points.credit(o.Customer, total)
	s.receipts <- receipt{o.ID, o.Customer, total}
	answer(w, http.StatusCreated, invoice{o.ID, price(total)})
}

func validate(o *order) error {
	if len(o.Lines) == 0 {
		return errors.New("an order of nothing")
	}
	for _, l := range o.Lines {
		if l.Quantity < 1 {
			return fmt.Errorf("%d of %s cannot be ordered", l.Quantity, l.SKU)
		}
	}
	return nil
}

// reserve reserves all lines at once, and returns what they cost.
func (s *shop) reserve(ctx context.Context, o *order) (cents int64, err error) {
	costs, errs := make([]int64, len(o.Lines)), make([]error, len(o.Lines))
	var lines sync.WaitGroup
	for i, l := range o.Lines {
		lines.Go(func() { costs[i], errs[i] = s.reserveLine(ctx, o.ID, l.SKU, l.Quantity) })
	}
	lines.Wait()
	for i, cost := range costs {
		if errs[i] != nil {
			return 0, errs[i]
		}
		cents += cost
	}
	return cents, nil
}

func (s *shop) reserveLine(ctx context.Context, order, sku string, quantity int64) (cents int64, err error) {
	reply, err := s.stock.Reserve(ctx, &stockpb.ReserveRequest{Order: order, Sku: sku, Quantity: quantity})
	if err != nil {
		return 0, fmt.Errorf("reserve %s: %w", sku, err)
	}
	return reply.Cents, nil
}
