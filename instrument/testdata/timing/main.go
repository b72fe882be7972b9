// Timing calls functions that take some time, under recursion, in goroutines that
// block, with errors and panics, and prints how long each call took, from outside,
// and how often it failed: JSON, an object by function.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type calls struct {
	Durations      []int64 // ns, in no order
	Errors, Panics int
}

// all has an entry for each function.
var (
	mu  sync.Mutex
	all = make(map[string]*calls)
)

// note notes a call that began at a time.
func note(function string, began time.Time, failed, panicked bool) {
	took := time.Since(began)
	mu.Lock()
	defer mu.Unlock()
	c := all[function]
	if c == nil {
		c = &calls{}
		all[function] = c
	}
	c.Durations = append(c.Durations, took.Nanoseconds())
	if failed {
		c.Errors++
	}
	if panicked {
		c.Panics++
	}
}

func main() {
	blocks := 10 // of each goroutine
	if len(os.Args) > 1 {
		var err error
		if blocks, err = strconv.Atoi(os.Args[1]); err != nil {
			panic(err)
		}
	}
	for range 300 {
		began := time.Now()
		nothing()
		note("main.nothing", began, false, false)
	}
	for range 40 {
		began := time.Now()
		descend(8)
		note("main.descend", began, false, false)
	}
	var goroutines sync.WaitGroup
	for n := range 200 {
		goroutines.Go(func() {
			for i := range blocks {
				block(time.Duration(1+(n+i)%30) * time.Millisecond)
			}
		})
	}
	goroutines.Wait()
	for n := range 90 {
		fail(n)
		failLate(n)
	}
	goroutines.Go(func() {
		began := time.Now()
		defer func() { note("main.leave", began, false, false) }()
		_ = leave()
	})
	goroutines.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		panic(err)
	}
}

// nothing takes no time: what a call of it takes is what probes cost.
//
//go:noinline
func nothing() { runtime.KeepAlive(&mu) }

// descend calls itself, and takes longer the further it has to go. Its stack grows.
//
//go:noinline
func descend(n int) byte {
	var room [1 << 10]byte
	spin(200 * time.Microsecond)
	if n == 0 {
		return room[0]
	}
	room[n] = byte(n)
	began := time.Now()
	below := descend(n - 1)
	note("main.descend", began, false, false)
	return below + room[n]
}

func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

//go:noinline
func sleep(d time.Duration) {
	time.Sleep(d)
	runtime.Gosched() // goes on on another thread, perhaps
}

// block calls what blocks in the middle.
func block(d time.Duration) {
	began := time.Now()
	sleep(d)
	note("main.sleep", began, false, false)
}

// fail calls a function with each of its ends.
func fail(n int) {
	defer func() { _ = recover() }()
	began, panicked := time.Now(), true
	var err error
	defer func() {
		note("main.try", began, panicked || err != nil && err != io.EOF, panicked)
	}()
	_, err = try(n)
	panicked = false
}

var errFailed = errors.New("failed")

//go:noinline
func try(n int) (string, error) {
	switch n % 5 {
	case 0:
		return "", errFailed
	case 1:
		return "", io.EOF
	case 2:
		panic("at last")
	case 3:
		return "", fmt.Errorf("%w", io.EOF)
	}
	return "done", nil
}

// wide does not fit into registers.
type wide [4]int

// failLate is fail for a function that returns its error on the stack.
func failLate(n int) {
	began := time.Now()
	_, _, _, _, err := tryWide(n)
	note("main.tryWide", began, err != nil && err != io.EOF, false)
}

//go:noinline
func tryWide(n int) (string, string, string, wide, error) {
	switch n % 3 {
	case 0:
		return "", "", "", wide{rand.Int()}, errFailed
	case 1:
		return "", "", "", wide{1}, io.EOF
	}
	return "", "", "", wide{}, nil
}

// leave ends its goroutine.
//
//go:noinline
func leave() error {
	runtime.Goexit()
	return errFailed
}
