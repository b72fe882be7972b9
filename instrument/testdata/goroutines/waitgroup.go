//go:build go1.25

package main

import "sync"

func init() { newer = append(newer, func() { waited(next(), 0) }) }

//go:noinline
func waited(id, parent int64) {
	var all sync.WaitGroup
	for i := 0; i < 3; i++ {
		all.Go(func() { work(next(), id) })
	}
	all.Wait()
}
