package instrument_test

import (
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// restartProgram calls a function that uses none of its arguments from goroutines
// whose stacks have to grow for it.
const restartProgram = `
-- go.mod --
module example.com/restart

go 1.18
-- main.go --
package main

//go:noinline
func grow(a, b, c, d, e int64) {
	var frame [8192]byte
	touch(frame[:])
}

//go:noinline
func touch(frame []byte) { frame[len(frame)-1]++ }

func main() {
	for i := int64(1); i <= 500; i++ {
		done := make(chan bool)
		go func() {
			grow(i, 2*i, 3*i, 4*i, 5*i)
			close(done)
		}()
		<-done
	}
}
`

// Arguments that the compiler does not bring through a growth of the stack are
// known all the same.
func TestArgumentsBehindGrowth(t *testing.T) {
	for _, version := range testprog.Versions() {
		t.Run(version, func(t *testing.T) {
			exe := testprog.Build(t, restartProgram, testprog.Options{GoVersion: version})
			kerneltest.Require(t)
			spans, summary, _ := trace(t,
				instrument.Config{Rules: plan.Rules{Patterns: []string{"main.grow"}, Values: true}},
				target.Command{Path: exe})
			if len(spans) != 500 || summary.LostSpans() != 0 {
				t.Errorf("%d spans of 500 calls, %+v", len(spans), summary)
			}
			seen := make(map[int64]bool)
			for _, s := range spans {
				a := number(t, s.Args, "a")
				seen[a] = true
				for i, name := range []string{"b", "c", "d", "e"} {
					if got, want := number(t, s.Args, name), int64(i+2)*a; got != want {
						t.Fatalf("%s is %d, not %d", name, got, want)
					}
				}
			}
			if len(seen) != len(spans) || seen[0] || !seen[1] || !seen[500] {
				t.Errorf("the first arguments are %d different ones", len(seen))
			}
		})
	}
}
