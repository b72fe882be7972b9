package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/jaegertest"
)

// The services of examples/shop, as docker-compose.yml and make demo-shop call them.
const (
	shopFront = "shop-front"
	shopStock = "shop-stock"
)

// buildShop compiles the programs of examples/shop into one directory.
func buildShop(t *testing.T) string {
	t.Helper()
	return buildIn(t, root+"/examples/shop", "./front", "./stock", "./load")
}

// awaitShop waits until Jaeger has what there is to see in the shop's traces,
// and returns the spans of both services that are as enough says of each.
func awaitShop(t *testing.T, client jaegertest.Client, enough func(jaegertest.Span) bool) (front, stock []jaegertest.Span) {
	t.Helper()
	await := func(service string, find ...func([]jaegertest.Span) error) []jaegertest.Span {
		var kept []jaegertest.Span
		var missing error
		defer func() {
			if missing != nil {
				t.Logf("%s: %v", service, missing)
			}
		}()
		awaitSpans(t, client, service, func(spans []jaegertest.Span) bool {
			kept = kept[:0]
			for _, span := range spans {
				if enough(span) {
					kept = append(kept, span)
				}
			}
			for _, f := range find {
				if missing = f(kept); missing != nil {
					return false
				}
			}
			return true
		})
		return kept
	}
	return await(shopFront, findSwallowedError, findPanic, findJoin), await(shopStock, findSlow)
}

// findSwallowedError finds the error that the front does not look at.
func findSwallowedError(spans []jaegertest.Span) error {
	byID := index(spans)
	for _, span := range spans {
		if span.Name == "main.(*points).credit" && span.Tags["uspan.arg.customer"] == "guest" {
			parent, found := byID[span.Parent]
			if !found {
				continue // it is on the way
			}
			if parent.Name != "main.(*shop).order" || parent.Tags["otel.status_code"] == "ERROR" {
				return fmt.Errorf("the order without points is %+v", parent)
			}
			return fails(span, "*errors.errorString", `no points account of customer "guest"`)
		}
	}
	return fmt.Errorf("no main.(*points).credit within an order of guest among %d spans", len(spans))
}

// findPanic finds the panic that the front recovers.
func findPanic(spans []jaegertest.Span) error {
	for _, span := range spans {
		if span.Name == "main.thumbnail" && span.Tags["uspan.arg.p.Sku"] == "scarf-12" {
			if why := span.Tags["uspan.incomplete"]; why != "panic" {
				return fmt.Errorf("main.thumbnail ended by %v", why)
			}
			return fails(span, "runtime.boundsError", "index out of range [0] with length 0")
		}
	}
	return fmt.Errorf("no main.thumbnail of scarf-12 among %d spans", len(spans))
}

// fails checks that a span is an error.
func fails(span jaegertest.Span, errorType, message string) error {
	if status := span.Tags["otel.status_code"]; status != "ERROR" {
		return fmt.Errorf("the status of %s is %v", span.Name, status)
	}
	if got := span.Tags["error.type"]; got != errorType {
		return fmt.Errorf("the error.type of %s is %v, want %s", span.Name, got, errorType)
	}
	for _, event := range span.Events {
		if got, _ := event.Fields["exception.message"].(string); strings.Contains(got, message) {
			return nil
		}
	}
	return fmt.Errorf("no event of %s says %q: %v", span.Name, message, span.Events)
}

// findJoin finds a line of an order on a goroutine of its own, below the order.
func findJoin(spans []jaegertest.Span) error {
	byID := index(spans)
	for _, span := range spans {
		if span.Name != "main.(*shop).reserveLine" {
			continue
		}
		began := byID[span.Parent]
		if began.Name != "main.(*shop).reserve" {
			continue
		}
		if began.TraceID != span.TraceID || began.Tags["uspan.goroutine.id"] == span.Tags["uspan.goroutine.id"] {
			return fmt.Errorf("%+v is on no goroutine of its own, or in another trace than %+v", span, began)
		}
		if order, in := span.Tags["uspan.arg.order"], began.Tags["uspan.arg.o.ID"]; order != in {
			return fmt.Errorf("a line of %v is below %v", order, in)
		}
		return nil
	}
	return fmt.Errorf("no main.(*shop).reserveLine below a reserve among %d spans", len(spans))
}

// findSlow finds what takes an order so long: one query for each of the other
// products of a category.
func findSlow(spans []jaegertest.Span) error {
	const others = 11
	asked := make(map[string]map[any]bool)
	for _, span := range spans {
		if span.Name == "main.(*store).sold" {
			if asked[span.Parent] == nil {
				asked[span.Parent] = make(map[any]bool)
			}
			asked[span.Parent][span.Tags["uspan.arg.sku"]] = true
		}
	}
	for _, span := range spans {
		if span.Name == "main.(*store).alternatives" && span.Tags["uspan.arg.sku"] == "boots-12" && len(asked[span.ID]) == others {
			return nil
		}
	}
	return fmt.Errorf("no main.(*store).alternatives of boots-12 with %d of main.(*store).sold among %d spans", others, len(spans))
}

func index(spans []jaegertest.Span) map[string]jaegertest.Span {
	byID := make(map[string]jaegertest.Span, len(spans))
	for _, span := range spans {
		byID[span.ID] = span
	}
	return byID
}
