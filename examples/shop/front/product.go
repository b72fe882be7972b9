package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"shop/stockpb"
)

// A page is what a customer sees of a product.
type page struct {
	Name, Price, Thumbnail string
	Available              bool
}

// product shows a product.
func (s *shop) product(w http.ResponseWriter, r *http.Request) {
	p, err := s.stock.Product(r.Context(), &stockpb.ProductRequest{Sku: r.PathValue("sku")})
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, page{p.Name, price(p.Cents), thumbnail(p), p.OnHand > 0})
}

// thumbnail is the address of a product's first picture, made small.
func thumbnail(p *stockpb.ProductReply) string {
	image := p.Images[0]
	return path.Join("/images", p.Sku, strings.TrimSuffix(image, path.Ext(image))+"-small"+path.Ext(image))
}

func price(cents int64) string {
	return fmt.Sprintf("%d.%02d", cents/100, cents%100)
}

// answer writes a value as JSON.
func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // the customer has gone
}

// fail says what the stock service refused, and hides what it could not do.
func fail(w http.ResponseWriter, err error) {
	switch s := status.Convert(err); s.Code() {
	case codes.NotFound:
		http.Error(w, s.Message(), http.StatusNotFound)
	case codes.FailedPrecondition:
		http.Error(w, s.Message(), http.StatusConflict)
	default:
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	}
}
