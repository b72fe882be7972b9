package plan

import (
	"iter"
	"sync"
)

// ahead yields what another iterator does, which goes on meanwhile on another processor.
func ahead[T any](made iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		const far = 256
		results, stop := make(chan T, far), make(chan struct{})
		var maker sync.WaitGroup
		defer maker.Wait()
		defer close(stop)
		maker.Go(func() {
			defer close(results)
			for result := range made {
				select {
				case results <- result:
				case <-stop:
					return
				}
			}
		})
		for result := range results {
			if !yield(result) {
				return
			}
		}
	}
}
