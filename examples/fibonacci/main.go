// Fibonacci computes Fibonacci numbers by three methods in turn: a small program
// to watch. It knows nothing of being traced.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// largest is the last n whose Fibonacci number fits into an int of 64 bits.
const largest = 92

// methods, with the largest n that each is asked for: the numbers of calls stay
// readable, and the loop is asked for too much now and then.
var methods = []struct {
	name string
	upTo int
}{
	{"recursive", 5},
	{"cache", 8},
	{"loop", 120},
}

func main() {
	rounds := flag.Int("n", 0, "end after so many rounds (0: never)")
	seed := flag.Uint64("seed", rand.Uint64(), "choose the same numbers again")
	flag.Parse()
	random := rand.New(rand.NewPCG(*seed, 0))

	fmt.Println("fibonacci: pid", os.Getpid())
	for round := 0; *rounds == 0 || round < *rounds; round++ {
		method := methods[round%len(methods)]
		n := 1 + random.IntN(method.upTo)
		number, err := compute(method.name, n)
		if err != nil {
			fmt.Printf("%s: %v\n", method.name, err)
		} else {
			fmt.Printf("%s: fibonacci(%d) = %d\n", method.name, n, number)
		}
		time.Sleep(400 * time.Millisecond)
	}
}

// compute is the nth Fibonacci number by one of the three methods.
func compute(method string, n int) (int, error) {
	if n > largest {
		return 0, fmt.Errorf("fibonacci(%d) does not fit into an int", n)
	}
	switch method {
	case "recursive":
		return fibonacciRecursive(n), nil
	case "cache":
		return fibonacciCache(n, make(map[int]int)), nil
	default:
		return fibonacciLoop(n), nil
	}
}

// fibonacciRecursive computes most numbers many times over.
func fibonacciRecursive(n int) int {
	if n < 2 {
		return n
	}
	return fibonacciRecursive(n-1) + fibonacciRecursive(n-2)
}

// fibonacciCache computes each number once, and remembers it.
func fibonacciCache(n int, cache map[int]int) int {
	if n < 2 {
		return n
	}
	if number, ok := cache[n]; ok {
		return number
	}
	cache[n] = fibonacciCache(n-1, cache) + fibonacciCache(n-2, cache)
	return cache[n]
}

// fibonacciLoop needs neither calls nor memory. So small a function is inlined
// into its caller, and what has been inlined is no longer there to be traced:
// the pragma keeps it.
//
//go:noinline
func fibonacciLoop(n int) int {
	a, b := 0, 1
	for range n {
		a, b = b, a+b
	}
	return a
}
