// Load is the shop's customers: requests of each kind in turn, forever or for
// some time, and whatever becomes of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"shop/health"
)

// requests are a path to get, or an order.
var requests = []string{
	"/products/coat-03",
	`{"customer": "ada", "lines": [{"sku": "coat-03", "quantity": 1}, {"sku": "scarf-07", "quantity": 2}]}`,
	"/products/umbrella-01",
	// A customer who collects no points.
	`{"customer": "guest", "lines": [{"sku": "umbrella-01", "quantity": 1}]}`,
	// Something that is not made any more.
	`{"customer": "grace", "lines": [{"sku": "boots-12", "quantity": 1}, {"sku": "boots-04", "quantity": 1}]}`,
	"/products/scarf-12",
	`{"customer": "ada", "lines": [{"sku": "coat-05", "quantity": 0}]}`,
	"/products/sandals-01",
	`{"customer": "nobody", "lines": [{"sku": "scarf-02", "quantity": 3}]}`,
}

// noAnswer is what becomes of a request that nobody answers.
const noAnswer = "no answer"

func main() {
	front := flag.String("front", "http://127.0.0.1:8080", "the URL of the shop's front")
	rate := flag.Float64("rate", 4, "requests in a second")
	duration := flag.Duration("for", 0, "end after this time (0: never)")
	listen := flag.String("listen", "", "the address to tell at whether the shop answers")
	check := flag.Bool("check", false, "ask at that address whether it does, and end")
	flag.Parse()
	if *check {
		if err := health.Check("http://" + *listen); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
		return
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if *rate <= 0 {
		fmt.Fprintln(os.Stderr, "load: -rate has to be above zero")
		os.Exit(2)
	}
	p := &pulse{}
	if *listen != "" {
		if err := p.serve(*listen); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / *rate))
	answers := make(map[string]int)
	for i := 0; ctx.Err() == nil; i++ {
		answer := send(ctx, *front, requests[i%len(requests)])
		answers[answer]++
		if answer != noAnswer {
			p.answered()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for _, status := range slices.Sorted(maps.Keys(answers)) {
		fmt.Printf("load: %d × %s\n", answers[status], status)
	}
}

// send returns how the shop answered.
func send(ctx context.Context, front, what string) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	method, path, body := http.MethodGet, what, ""
	if strings.HasPrefix(what, "{") {
		method, path, body = http.MethodPost, "/orders", what
	}
	request, err := http.NewRequestWithContext(ctx, method, front+path, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return noAnswer
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.Status
}
