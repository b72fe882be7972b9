// Command target is what the benchmark traces: a loop around one short
// function, whose name is its argument, and which it times itself. For each line on standard input, a number of
// nanoseconds, it calls the function for at least that long and answers with
// the number of calls and the nanoseconds that they took. It ends with its input.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// batch is how many calls lie between two looks at the clock: enough for the
// look not to show, not too many for calls of some ten thousand nanoseconds.
const batch = 1000

var errWork = errors.New("no work for today")

func main() {
	call := calls[os.Args[1]]
	if call == nil {
		fmt.Fprintln(os.Stderr, "no function", os.Args[1])
		os.Exit(2)
	}
	for {
		var atLeast time.Duration
		if _, err := fmt.Scanln((*int64)(&atLeast)); err != nil {
			return
		}
		n, took := round(call, atLeast)
		if _, err := fmt.Println(n, took.Nanoseconds()); err != nil {
			os.Exit(1)
		}
	}
}

// round calls a function for at least a time: how often, and how long that took.
func round(call func(), atLeast time.Duration) (calls int, took time.Duration) {
	for start := time.Now(); took < atLeast; took = time.Since(start) {
		call()
		calls += batch
	}
	return calls, took
}

// work is the function that most is measured with. It has a frame, since it calls another one, and
// fails always, so that there is an error to capture.
//
//go:noinline
func work(id int, name string) (int, error) {
	return double(id) + len(name), errWork
}

//go:noinline
func double(n int) int { return 2 * n }
