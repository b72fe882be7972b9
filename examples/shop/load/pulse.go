package main

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// lately is how long ago the last answer may be, of a shop that answers.
const lately = 5 * time.Second

// A pulse knows when the shop has answered last.
type pulse struct{ last atomic.Int64 }

func (p *pulse) answered() { p.last.Store(time.Now().UnixNano()) }

// ServeHTTP tells whether the shop answers.
func (p *pulse) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if time.Since(time.Unix(0, p.last.Load())) > lately {
		http.Error(w, "the shop does not answer", http.StatusServiceUnavailable)
	}
}

// serve tells it at an address until the program ends.
func (p *pulse) serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // until the end
	return nil
}
