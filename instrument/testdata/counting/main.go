// Command counting knows what a tracer must see of it. Every traced function has
// the arguments (id, parent), its own number and that of the call that made it,
// and returns how long its body took in nanoseconds by its own clock. At the
// end it prints how often each function ran, and the sum of the numbers. It is
// written in the Go of 1.18, which builds it, too.
package main

import (
	"encoding/json"
	"flag"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var last, sum int64

// next is a new number, counted as one call of a function.
func next(calls *int64) int64 {
	atomic.AddInt64(calls, 1)
	id := atomic.AddInt64(&last, 1)
	atomic.AddInt64(&sum, id)
	return id
}

var counts struct{ recurse, block, short, brief, many, climb int64 }

//go:noinline
func recurse(id, parent int64, n int) int64 {
	start := time.Now()
	var frame [1024]byte
	fill(frame[:], byte(n))
	if n%500 == 0 {
		runtime.GC() // shrinks stacks, and scans this one
	}
	if n > 1 {
		recurse(next(&counts.recurse), id, n-1)
	}
	check(frame[:], byte(n))
	return int64(time.Since(start))
}

func fill(frame []byte, b byte) {
	for i := range frame {
		frame[i] = b
	}
}

func check(frame []byte, b byte) {
	for i := range frame {
		if frame[i] != b {
			panic("somebody wrote into this stack")
		}
	}
}

// climb grows the stack under an open call, lets it shrink, and does so again.
//
//go:noinline
func climb(id, parent int64) int64 {
	start := time.Now()
	for i := 0; i < 3; i++ {
		recurse(next(&counts.recurse), id, 60)
		runtime.GC()
		runtime.Gosched()
	}
	return int64(time.Since(start))
}

//go:noinline
func block(id, parent int64, entered *sync.WaitGroup, gate <-chan struct{}) int64 {
	start := time.Now()
	entered.Done()
	<-gate
	short(next(&counts.short), id)
	return int64(time.Since(start))
}

//go:noinline
func short(id, parent int64) int64 {
	start := time.Now()
	for i := 0; i < 100; i++ {
		atomic.StoreInt64(&sink, int64(i))
	}
	return int64(time.Since(start))
}

// brief has no body to speak of: the whole call is a few instructions.
//
//go:noinline
func brief(id, parent int64) int64 {
	atomic.StoreInt64(&sink, id)
	return 0
}

// many changes threads while it is open.
//
//go:noinline
func many(id, parent int64, entered *sync.WaitGroup, gate <-chan struct{}) int64 {
	start := time.Now()
	entered.Done()
	<-gate
	runtime.Gosched()
	brief(next(&counts.brief), id)
	return int64(time.Since(start))
}

var sink int64

// together runs f in n goroutines that are all inside of it at one moment.
func together(n int, f func(entered *sync.WaitGroup, gate <-chan struct{})) {
	var entered, left sync.WaitGroup
	gate := make(chan struct{})
	entered.Add(n)
	left.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			defer left.Done()
			f(&entered, gate)
		}()
	}
	entered.Wait()
	runtime.GC()
	close(gate)
	left.Wait()
}

func main() {
	goroutines := flag.Int("goroutines", 0, "goroutines that are inside a traced call at one moment")
	forever := flag.Bool("forever", false, "go on until standard input is closed")
	flag.Parse()
	round(*goroutines)
	if *forever {
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			os.Stdin.Read(make([]byte, 1))
		}()
		for running := true; running; {
			select {
			case <-stop:
				running = false
			default:
				round(*goroutines)
			}
		}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]int64{
		"main.recurse": atomic.LoadInt64(&counts.recurse),
		"main.climb":   atomic.LoadInt64(&counts.climb),
		"main.block":   atomic.LoadInt64(&counts.block),
		"main.short":   atomic.LoadInt64(&counts.short),
		"main.brief":   atomic.LoadInt64(&counts.brief),
		"main.many":    atomic.LoadInt64(&counts.many),
		"sum":          atomic.LoadInt64(&sum),
	})
}

func round(goroutines int) {
	var all sync.WaitGroup
	all.Add(2)
	go func() {
		defer all.Done()
		recurse(next(&counts.recurse), 0, 1500)
	}()
	go func() {
		defer all.Done()
		climb(next(&counts.climb), 0)
	}()
	all.Wait()
	together(200, func(entered *sync.WaitGroup, gate <-chan struct{}) {
		block(next(&counts.block), 0, entered, gate)
	})
	for i := 0; i < 1000; i++ {
		short(next(&counts.short), 0)
	}
	// One after the other, so that each has the g of one that has ended.
	for i := 0; i < 500; i++ {
		done := make(chan struct{})
		go func() {
			defer close(done)
			brief(next(&counts.brief), 0)
		}()
		<-done
	}
	if goroutines > 0 {
		together(goroutines, func(entered *sync.WaitGroup, gate <-chan struct{}) {
			many(next(&counts.many), 0, entered, gate)
		})
	}
}
