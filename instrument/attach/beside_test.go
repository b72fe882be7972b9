package attach

import (
	"errors"
	"testing"
	"time"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// unwinding has calls that panics and runtime.Goexit unwind all the time, until its
// standard input is closed.
const unwinding = `
-- go.mod --
module example.com/unwinding

go 1.21
-- main.go --
package main

import (
	"os"
	"runtime"
	"sync"
)

//go:noinline
func outer(n int) {
	defer func() {
		if n%3 == 0 {
			recover()
		}
	}()
	inner(n)
}

//go:noinline
func inner(n int) {
	switch n % 3 {
	case 0:
		panic(n)
	case 1:
		runtime.Goexit()
	}
}

func main() {
	for i := 0; i < 4; i++ {
		go func() {
			for n := 0; ; n++ {
				var all sync.WaitGroup
				all.Add(1)
				go func() {
					defer all.Done()
					outer(n)
				}()
				all.Wait()
			}
		}()
	}
	os.Stdin.Read(make([]byte, 1))
}
`

// How calls end that panics unwind is seen of the first ones that are seen to begin,
// too, while the probes are being placed.
func TestAttachAmongPanics(t *testing.T) {
	path := testprog.Copy(t, testprog.Build(t, unwinding, testprog.Options{}))
	eachWay(t, func(t *testing.T, options Options) {
		kerneltest.Require(t)
		file, p := openPlan(t, path, "main.outer", "main.inner")
		pid := begin(t, path)
		reasons := make(map[uint8]int)
		times := 5
		if options.NoMulti {
			times = 2 // seconds each
		}
		for range times {
			s := newSession(t, p, options)
			if err := s.Watch(0, pid); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Attach(0, file, []int{pid}); err != nil {
				t.Fatal(err)
			}
			readCalls(t, s, 3000, func(record bpf.Record) { reasons[record.Reason]++ })
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if reasons[bpf.EndUnwound] != 0 || reasons[bpf.EndPanic] == 0 || reasons[bpf.EndGoexit] == 0 {
			t.Errorf("calls by how they have ended: %v, %d for a reason that was not seen", reasons, reasons[bpf.EndUnwound])
		}
	})
}

// readCalls reads events until there were as many calls.
func readCalls(t *testing.T, s *Session, calls int, each func(bpf.Record)) {
	t.Helper()
	const patience = time.Minute
	last := time.Now()
	for calls > 0 {
		record, err := s.Read()
		switch {
		case errors.Is(err, ErrIdle):
			if time.Since(last) > patience {
				t.Fatalf("no call has ended for %v, and %d are to come", patience, calls)
			}
		case err != nil:
			t.Fatal(err)
		case record.Kind == bpf.EventCall:
			each(record)
			calls--
			last = time.Now()
		}
	}
}
