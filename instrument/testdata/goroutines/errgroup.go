package main

import (
	"errors"

	"golang.org/x/sync/errgroup"
)

// joined begins its goroutines by an errgroup, some of which wait for others to end.
//
//go:noinline
func joined(id, parent int64, limit int) {
	var g errgroup.Group
	g.SetLimit(limit)
	for i := 0; i < 4; i++ {
		g.Go(func() error {
			work(next(), id)
			return errors.New("as expected")
		})
	}
	g.Wait()
}

// unjoined uses one where nothing is traced.
func unjoined() {
	var g errgroup.Group
	g.Go(func() error { work(next(), 0); return nil })
	g.Wait()
}
