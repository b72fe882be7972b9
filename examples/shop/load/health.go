package main

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// lately is how long ago the last answer may be, of a shop that answers.
const lately = 5 * time.Second

// A health knows when the shop has answered last.
type health struct{ last atomic.Int64 }

func (h *health) answered() { h.last.Store(time.Now().UnixNano()) }

// ServeHTTP tells whether the shop answers.
func (h *health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if time.Since(time.Unix(0, h.last.Load())) > lately {
		http.Error(w, "the shop does not answer", http.StatusServiceUnavailable)
	}
}

// serve tells it at an address until the program ends.
func (h *health) serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // until the end
	return nil
}

func checkHealth(address string) error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get("http://" + address)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
