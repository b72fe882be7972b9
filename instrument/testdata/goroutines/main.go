// Command goroutines knows which call each of its goroutines belongs to. Every
// traced function has the arguments (id, parent), its own number and that of the
// call whose `go` statement began its goroutine, or that made it. At the end it
// prints how many calls there were. It is written in the Go of 1.18, which builds
// it, too.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var last int64

func next() int64 { return atomic.AddInt64(&last, 1) }

//go:noinline
func work(id, parent int64) { atomic.AddInt64(&sink, id) }

var sink int64

// closures begins several goroutines at one site.
//
//go:noinline
func closures(id, parent int64, n int) {
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			work(next(), id)
			work(next(), id)
		}()
	}
	all.Wait()
}

// plain begins goroutines of functions with arguments, and of a method value.
//
//go:noinline
func plain(id, parent int64) {
	var all sync.WaitGroup
	all.Add(3)
	go worker(id, &all)
	t := task{id, &all}
	go t.run()
	run := t.run
	go run()
	all.Wait()
}

func worker(parent int64, all *sync.WaitGroup) {
	defer all.Done()
	work(next(), parent)
}

type task struct {
	parent int64
	all    *sync.WaitGroup
}

func (t task) run() {
	defer t.all.Done()
	work(next(), t.parent)
}

// returned has returned before its goroutine calls anything.
//
//go:noinline
func returned(id, parent int64, gate <-chan struct{}, all *sync.WaitGroup) {
	go func() {
		defer all.Done()
		<-gate
		work(next(), id)
	}()
}

// nested begins a goroutine that begins others, and calls nothing traced itself.
//
//go:noinline
func nested(id, parent int64) {
	var all sync.WaitGroup
	all.Add(2)
	go func() {
		go func() {
			defer all.Done()
			work(next(), id)
		}()
		go func() {
			defer all.Done()
			work(next(), id)
		}()
	}()
	all.Wait()
}

// relayed does so with functions that have names.
//
//go:noinline
func relayed(id, parent int64) {
	var all sync.WaitGroup
	all.Add(2)
	go relay(id, &all)
	go relays.begin(id, &all)
	all.Wait()
}

func relay(id int64, all *sync.WaitGroup) { go worker(id, all) }

type relayers struct{ begin func(int64, *sync.WaitGroup) }

var relays = relayers{begin: relay}

// within calls traced functions on its own goroutine and on others by turns.
//
//go:noinline
func within(id, parent int64) {
	inner := next()
	closures(inner, id, 2)
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		closures(next(), id, 2)
		work(next(), id)
	}()
	all.Wait()
	work(next(), id)
}

// A group is as errgroup's: the `go` statement is in its method.
type group struct{ all sync.WaitGroup }

//go:noinline
func (g *group) Go(f func()) {
	g.all.Add(1)
	go func() {
		defer g.all.Done()
		f()
	}()
}

//go:noinline
func grouped(id, parent int64) {
	var g group
	for i := 0; i < 3; i++ {
		g.Go(func() { work(next(), id) })
	}
	g.all.Wait()
}

// ungrouped uses the group where nothing is traced: its goroutines have no parent.
func ungrouped() {
	var g group
	g.Go(func() { work(next(), 0) })
	g.all.Wait()
}

// timers run on goroutines that no `go` statement began.
//
//go:noinline
func timers(id, parent int64) {
	done := make(chan struct{})
	time.AfterFunc(time.Millisecond, func() {
		work(next(), 0)
		close(done)
	})
	<-done
}

// pooled is work that a worker does: the call that began it is not its parent, but
// linked.
//
//go:noinline
func pooled(id, parent, linked int64) { atomic.AddInt64(&sink, id) }

// pool has workers that outlive the call that began them, and wait for work. What
// else they do belongs to it.
//
//go:noinline
func pool(id, parent int64, jobs <-chan int, all *sync.WaitGroup) {
	for i := 0; i < 3; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			work(next(), id)
			for range jobs {
				pooled(next(), 0, id)
			}
			work(next(), id)
		}()
	}
}

// unwinds begins goroutines where a call that has panicked was innermost.
//
//go:noinline
func unwinds(id, parent int64) {
	func() {
		defer func() { recover() }()
		panics(next(), id)
	}()
	var all sync.WaitGroup
	all.Add(1)
	go worker(id, &all)
	all.Wait()
}

//go:noinline
func panics(id, parent int64) {
	if parent > 0 {
		panic("in a call that begins no goroutine")
	}
}

var newer []func()

func main() {
	rounds := flag.Int("rounds", 200, "how often everything happens")
	many := flag.Int("many", 0, "begin so many goroutines, and nothing else")
	flag.Parse()
	if *many > 0 {
		begin(*many)
		fmt.Println(atomic.LoadInt64(&last))
		os.Stdin.Read(make([]byte, 1)) // until it is closed
		return
	}
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < *rounds; j++ {
				everything()
			}
		}()
	}
	all.Wait()
	close(stop)
	fmt.Println(atomic.LoadInt64(&last))
}

func everything() {
	closures(next(), 0, 5)
	plain(next(), 0)
	nested(next(), 0)
	relayed(next(), 0)
	within(next(), 0)
	grouped(next(), 0)
	ungrouped()
	joined(next(), 0, 4)
	joined(next(), 0, 2)
	unjoined()
	unwinds(next(), 0)

	var all sync.WaitGroup
	gate := make(chan struct{})
	for i := 0; i < 3; i++ {
		all.Add(1)
		returned(next(), 0, gate, &all)
	}
	close(gate)
	all.Wait()

	timers(next(), 0)
	jobs := make(chan int)
	pool(next(), 0, jobs, &all)
	for i := 0; i < 10; i++ {
		jobs <- i
	}
	close(jobs)
	all.Wait()
	for _, more := range newer {
		more()
	}
}

// begin begins goroutines at full speed. One in 50 calls something traced.
func begin(n int) {
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < n/4; j += 100 {
				burst(next(), 0)
			}
		}()
	}
	all.Wait()
}

//go:noinline
func burst(id, parent int64) {
	var all sync.WaitGroup
	all.Add(100)
	for i := 0; i < 100; i++ {
		calls := i%50 == 0
		go func() {
			defer all.Done()
			if calls {
				work(next(), id)
			}
		}()
	}
	all.Wait()
}
