package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uspan/uspan/internal/jaegertest"
)

const (
	frontService = "shop-front"
	stockService = "shop-stock"
)

// A sight is a span to look at, and what is said of it.
type sight struct {
	question, service, name string
	attributes              map[string]any
}

var sights = []sight{
	{"Why does it take so long to say that something is sold out?", stockService, "main.(*store).alternatives", nil},
	{"Who sees to it that guests get no points? The order went well.", frontService, "main.(*points).credit",
		map[string]any{"uspan.arg.customer": "guest", "otel.status_code": "ERROR"}},
	{"What goes wrong on the page that says that something went wrong?", frontService, "main.thumbnail",
		map[string]any{"uspan.incomplete": "panic"}},
	{"Which goroutines does an order of several products begin?", frontService, "main.(*shop).reserve",
		map[string]any{"uspan.arg.o.Customer": "ada"}},
}

// patience bounds how long to wait for a sight.
const patience = time.Minute

// show shows the trace of each sight, as soon as Jaeger has it.
func show(ctx context.Context, jaeger jaegertest.Client, pages bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, s := range sights {
		trace, err := s.await(ctx, jaeger)
		if err != nil {
			return err
		}
		fmt.Printf("\n%s\n", s.question)
		if pages {
			fmt.Printf("  %s/trace/%s\n", jaeger.URL, trace[0].TraceID)
		}
		printTrace(trace, "", 1)
	}
	if pages {
		fmt.Printf("\nLook for more at %s.\n", jaeger.URL)
	}
	return nil
}

// await returns the spans of the first trace that has a sight, complete.
func (s sight) await(ctx context.Context, jaeger jaegertest.Client) ([]jaegertest.Span, error) {
	var err error
	for {
		var spans []jaegertest.Span
		if spans, err = jaeger.Spans(s.service); err == nil {
			if trace := s.find(spans); trace != nil {
				return trace, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s of %s is not to be seen: %w", s.name, s.service, errors.Join(context.Cause(ctx), err))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s sight) find(spans []jaegertest.Span) []jaegertest.Span {
	for _, span := range spans {
		if span.Name != s.name || !s.has(span) {
			continue
		}
		trace := slices.Clone(spans)
		trace = slices.DeleteFunc(trace, func(other jaegertest.Span) bool { return other.TraceID != span.TraceID })
		slices.SortFunc(trace, func(a, b jaegertest.Span) int {
			return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.Duration, a.Duration))
		})
		if trace[0].Parent == "" { // it is the last one to come
			return trace
		}
	}
	return nil
}

func (s sight) has(span jaegertest.Span) bool {
	for key, value := range s.attributes {
		if span.Tags[key] != value {
			return false
		}
	}
	return true
}

// printTrace prints the spans below a parent.
func printTrace(trace []jaegertest.Span, parent string, level int) {
	for _, span := range trace {
		if span.Parent != parent {
			continue
		}
		fmt.Printf("%s%s %v%s\n", strings.Repeat("  ", level), span.Name, span.Duration, remarks(span))
		printTrace(trace, span.ID, level+1)
	}
}

// remarks are the attributes of a span that answer questions.
func remarks(span jaegertest.Span) string {
	var text strings.Builder
	for _, key := range []string{"uspan.arg.sku", "uspan.arg.customer", "uspan.arg.p.Sku", "uspan.goroutine.id"} {
		if value, ok := span.Tags[key]; ok {
			name := key[strings.LastIndexByte(strings.TrimSuffix(key, ".id"), '.')+1:]
			fmt.Fprintf(&text, " %s=%v", strings.TrimSuffix(name, ".id"), value)
		}
	}
	if message, ok := span.Tags["otel.status_description"]; ok {
		fmt.Fprintf(&text, " error: %v", message)
	}
	return text.String()
}
