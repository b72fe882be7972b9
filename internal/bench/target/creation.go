package main

import "sync"

// Functions that begin goroutines that do nothing, as many as a batch has calls, and
// wait for them. One of them is traced.

//go:noinline
func begin() {
	var all sync.WaitGroup
	all.Add(batch)
	for range batch {
		go all.Done()
	}
	all.Wait()
}

//go:noinline
func beginOther() {
	var all sync.WaitGroup
	all.Add(batch)
	for range batch {
		go all.Done()
	}
	all.Wait()
}
