package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

const hiring = `
-- go.mod --
module example.com/hiring

go 1.21
-- main.go --
package main

import "time"

var sink int

//go:noinline
func job(n int) { sink += n }

//go:noinline
func wait(work chan int) {
	for n := range work {
		job(n)
	}
}

//go:noinline
func between(work chan int) { wait(work) }

//go:noinline
func plain(work chan int) { go wait(work) }

//go:noinline
func literal(work, stop chan int) {
	go func() {
		for {
			select {
			case n := <-work:
				job(n)
			case <-stop:
				return
			}
		}
	}()
}

// far is no worker: what it calls may be called by others, too.
//
//go:noinline
func far(work chan int) { go between(work) }

// bounded waits for no work: it does what there is, or waits before or after.
//
//go:noinline
func bounded(work chan int, values []int) {
	go func() {
		<-work
		for _, n := range values {
			job(n)
		}
		for i := 0; i < 3; i++ {
			job(i)
			time.Sleep(1)
		}
		for _, n := range values {
			select { // which does not wait
			case work <- n:
			default:
			}
			job(n)
		}
		<-work
	}()
}

//go:noinline
func next(work, stop chan int) (int, bool) {
	select {
	case n := <-work:
		return n, true
	case <-stop:
		return 0, false
	}
}

// calls waits by calling what waits, with a loop in each round.
//
//go:noinline
func calls(work, stop chan int) {
	go func() {
		for {
			n, ok := next(work, stop)
			if !ok {
				return
			}
			for i := 0; i < n; i++ {
				job(i)
			}
		}
	}()
}

//go:noinline
func answer(work chan int, f func(int)) { f(<-work) }

// seldom waits in some of its rounds, and calls what waits and works.
//
//go:noinline
func seldom(work, stop chan int, f func(int)) {
	go func() {
		for i := 0; i < 10; i++ {
			if i%3 == 0 {
				next(work, stop)
			}
			answer(work, f)
			job(i)
		}
	}()
}

func main() {
	work, stop := make(chan int), make(chan int)
	plain(work)
	literal(work, stop)
	far(work)
	bounded(work, []int{1})
	calls(work, stop)
	seldom(work, stop, job)
	<-stop
}
`

// Goroutines that wait for work in functions that are not traced are found, and said,
// and no others: where the loop is traced, it has the calls that begin traces.
func TestWorkers(t *testing.T) {
	for _, options := range []testprog.Options{{}, {GoVersion: "go1.21.13"}, {Flags: []string{"-gcflags=all=-N -l"}}, {Flags: []string{"-buildmode=pie"}}, {GOARCH: "arm64"}} {
		t.Run(options.String(), func(t *testing.T) {
			f, err := gobin.Open(testprog.Build(t, hiring, options))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			workers := func(patterns ...string) (*Plan, []string) {
				p, err := Build(f, Rules{Patterns: patterns})
				if err != nil {
					t.Fatal(err)
				}
				var found []string
				for i := range p.Workers {
					w := &p.Workers[i]
					for _, root := range w.roots(f) {
						found = append(found, fmt.Sprintf("%s of %s: %s; %s", w.Name, w.By, root.what(), root.Why))
					}
				}
				slices.Sort(found)
				return p, found
			}
			p, got := workers("main.plain", "main.literal", "main.far", "main.bounded", "main.calls", "main.seldom", "main.job")
			want := []string{
				"main.calls.func1 of [main.calls]: main.job in line 87; the loop calls main.next, which selects, in line 82 of main.calls.func1",
				"main.literal.func1 of [main.literal]: main.job in line 29; the loop selects in line 27 of main.literal.func1",
				"main.plain.gowrap1 of [main.plain]: main.job in line 13; the loop receives from a channel in line 12 of main.wait",
			}
			for i := range got { // older releases do not mark wrappers
				got[i] = strings.ReplaceAll(got[i], "main.plain.func1", "main.plain.gowrap1")
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			text := printed(t, p)
			if !strings.Contains(text, ", begun by main.plain\n    begin traces: main.job in line 13; the loop receives from a channel in line 12 of main.wait\n") {
				t.Error(text)
			}
			for l := range p.List {
				notes := strings.Join(l.Notes(), "\n")
				if hires := l.Name == "main.plain" || l.Name == "main.calls" || l.Name == "main.literal"; strings.Contains(notes, "begin traces: main.job") != hires {
					t.Errorf("%s: %s", l.Name, notes)
				}
			}
			if _, got := workers("main.plain", "main.wait", "main.literal*", "main.job"); got != nil {
				t.Errorf("where the loops are traced: %q", got)
			}
		})
	}
}
