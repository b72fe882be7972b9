// Command work takes up one piece of work after the other in many ways. Its calls
// of job, handle and note are units of work; step is called within each. It is
// written in the Go of 1.18, which builds it, too.
package main

import (
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var sink int64

//go:noinline
func step(n int) { atomic.AddInt64(&sink, 1) }

//go:noinline
func setup() { atomic.AddInt64(&sink, 1) }

// job is a unit of work of the function that it names.
//
//go:noinline
func job(by string) {
	step(1)
	step(2)
}

// helper is not traced.
//
//go:noinline
func helper(by string) { job(by) }

// worker ranges over a channel, and comes to its jobs directly and through a
// function that is not traced.
//
//go:noinline
func worker(jobs <-chan int, all *sync.WaitGroup) {
	defer all.Done()
	setup()
	for n := range jobs {
		if n%2 == 0 {
			job("main.worker")
		} else {
			helper("main.worker")
		}
	}
	setup()
}

// selector waits for two channels.
//
//go:noinline
func selector(jobs <-chan int, stop <-chan bool, all *sync.WaitGroup) {
	defer all.Done()
	for {
		select {
		case <-stop:
			return
		case _, ok := <-jobs:
			if !ok {
				return
			}
			job("main.selector")
		}
	}
}

// dispatcher begins a goroutine for each job.
//
//go:noinline
func dispatcher(jobs <-chan int, all *sync.WaitGroup) {
	for range jobs {
		go func() {
			defer all.Done()
			job("main.dispatcher")
		}()
	}
}

func pools(n int) {
	jobs, more, others := make(chan int), make(chan int), make(chan int)
	stop := make(chan bool)
	var all, dispatched sync.WaitGroup
	all.Add(4)
	go worker(jobs, &all)
	go func() { worker(jobs, &all) }()
	go selector(more, stop, &all)
	go func() { // main.pools.func…, traced itself
		defer all.Done()
		for range others {
			job("literal")
		}
	}()
	handed := make(chan int)
	go dispatcher(handed, &dispatched)
	for i := 0; i < n; i++ {
		jobs <- i
		more <- i
		others <- i
		dispatched.Add(1)
		handed <- i
	}
	close(jobs)
	close(others)
	close(handed)
	stop <- true
	all.Wait()
	dispatched.Wait()
}

//go:noinline
func handle(conn net.Conn) {
	defer conn.Close()
	step(1)
	conn.Write([]byte{1})
}

//go:noinline
func note(n int) { step(n) }

// serve is called by main.main, and never returns before the end.
//
//go:noinline
func serve(ln net.Listener) {
	setup()
	for n := 0; ; n++ {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		note(n)
		go handle(conn)
	}
}

func clients(ln net.Listener, n int) {
	for i := 0; i < n; i++ {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			panic(err)
		}
		conn.Read(make([]byte, 1))
		conn.Close()
	}
	ln.Close()
}

//go:noinline
func merge(n int) { step(n) }

// batch waits for its own goroutines: it is one piece of work.
//
//go:noinline
func batch(n int) {
	results := make(chan int)
	for i := 0; i < n; i++ {
		i := i
		go func() {
			step(i)
			results <- i
		}()
	}
	for i := 0; i < n; i++ {
		merge(<-results)
	}
}

// long makes one trace larger than a trace may be.
//
//go:noinline
func long(n int) {
	for i := 0; i < n; i++ {
		step(i)
	}
}

// slow is a piece of work that takes its time: parts within it, one after the other.
//
//go:noinline
func slow(parts int, each time.Duration) {
	for i := 0; i < parts; i++ {
		part(i, each)
	}
}

//go:noinline
func part(n int, takes time.Duration) {
	step(n)
	time.Sleep(takes)
	step(n)
}

func main() {
	each := flag.Duration("slow", 0, "do a slow piece of work in 30 parts that take so long each, and nothing else")
	flag.Parse()
	if *each > 0 {
		slow(30, *each)
		fmt.Println(30)
		return
	}
	pools(20)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go clients(ln, 10)
	serve(ln)
	batch(10)
	long(1000)
	fmt.Println(atomic.LoadInt64(&sink) > 0)
}
