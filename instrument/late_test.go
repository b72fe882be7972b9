package instrument_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// awayProgram makes calls while the page is away that its goroutine lies in: who
// touches it sleeps until it is back (userfaultfd), and the calls do not touch it.
const awayProgram = `
-- go.mod --
module example.com/away

go 1.18
-- assembly.s --
#include "textflag.h"

TEXT ·assembly(SB), NOSPLIT, $0-0
	NOP
	RET
` + currentG + `-- number_amd64.go --
package main

const userfaultfd = 323
-- number_arm64.go --
package main

const userfaultfd = 282
-- main.go --
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// g is where the runtime keeps what it knows of this goroutine.
func g() uintptr

func assembly()

var sum int

//go:noinline
//go:nosplit
func leaf(n int) int { sum += n; return n + 1 }

//go:noinline
//go:nosplit
func nest(n int) int { return leaf(n) + leaf(n+1) }

//go:noinline
//go:nosplit
func fail(n int) error {
	if n > 0 {
		return failure
	}
	return nil
}

var failure = errors.New("of no use")

var away int32 // 1: it may go; 2: it is away; 3: it may come back; 4: it is back

func wait(what int32) {
	for atomic.LoadInt32(&away) != what {
	}
}

// hold begins while the page is away, and lets it come back.
//
//go:noinline
//go:nosplit
func hold(n int) int {
	comes()
	switch os.Args[2] {
	case "call":
		leaf(1000)
	case "go":
		ended := make(chan bool)
		time.Sleep(10 * time.Millisecond) // else it is preempted at the statement, and the parent not known
		go child(ended)
		<-ended
	case "panic":
		panic(failure)
	case "assembly":
		assembly()
	}
	return n
}

// goes waits until the page is away, comes until it is back.
//
//go:noinline
//go:nosplit
func goes() {
	atomic.StoreInt32(&away, 1)
	for atomic.LoadInt32(&away) != 2 {
	}
}

//go:noinline
//go:nosplit
func comes() {
	atomic.StoreInt32(&away, 3)
	for atomic.LoadInt32(&away) != 4 {
	}
}

//go:noinline
func deep(n int) int {
	var a [512]byte
	if n > 0 {
		a[n] = byte(deep(n - 1))
	}
	return int(a[n/2]) + n
}

// grow has its stack moved, and returns while the page is away.
//
//go:noinline
func grow(n int) int {
	deep(n)
	goes()
	return n
}

// recovers calls grow while it panics, and recovers before anything else is seen.
//
//go:noinline
func recovers() {
	defer func() {
		grow(20)
		comes()
		time.Sleep(time.Millisecond)
		recover()
	}()
	panic(failure)
}

// start begins goroutines until one has the g that has ended.
//
//go:noinline
func start(ended uintptr) bool {
	found := make(chan bool, 4000)
	var all sync.WaitGroup
	for i := 0; i < 2000; i++ {
		all.Add(1)
		go func() {
			if g() == ended {
				leaf(2000)
				found <- true
			}
			all.Done()
		}()
	}
	all.Wait()
	return len(found) > 0
}

//go:noinline
func child(ended chan bool) { close(ended) }

// work makes calls while the page is away: a nest, some leaves, and one that holds it.
//
//go:noinline
func work(leaves int) {
	defer func() { _ = recover() }()
	switch os.Args[2] {
	case "grow":
		grow(20)
		comes()
		leaf(1000)
		return
	case "recover":
		recovers()
		leaf(1000)
		return
	}
	goes()
	nest(10)
	fail(1)
	for n := 0; n < leaves; n++ {
		leaf(100 + n)
	}
	hold(7)
}

func try(what string, err syscall.Errno) {
	if err != 0 {
		fmt.Println("cannot", what, err)
		os.Exit(0)
	}
}

func ioctl(fd, request uintptr, argument unsafe.Pointer) syscall.Errno {
	_, _, err := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument))
	return err
}

func main() {
	const page = 4096
	debug.SetGCPercent(-1)
	leaves, _ := strconv.Atoi(os.Args[1])

	// One of many goroutines does the work: the page of its g has nothing of others
	// that do anything meanwhile.
	const goroutines = 200
	var gs [goroutines]uintptr
	var ready, done sync.WaitGroup
	turns := make([]chan bool, goroutines)
	ready.Add(goroutines)
	done.Add(1)
	for i := range turns {
		turns[i] = make(chan bool)
		go func(i int) {
			gs[i] = g()
			ready.Done()
			if <-turns[i] {
				if os.Args[2] == "end" {
					goes()
					leaf(100)
					comes()
				} else {
					work(leaves)
				}
				done.Done()
			}
		}(i)
	}
	ready.Wait()
	i := goroutines / 2
	at := gs[i] &^ (page - 1)
	saved := make([]byte, 2*page)
	kept := (uintptr(unsafe.Pointer(&saved[0])) + page - 1) &^ (page - 1)

	fd, _, err := syscall.Syscall(userfaultfd, 0, 0, 0)
	try("open a userfaultfd", err)
	api := [3]uint64{0xaa}
	try("agree on an API", ioctl(fd, 0xc018aa3f, unsafe.Pointer(&api)))
	register := [4]uint64{uint64(at), page, 1 /* of pages that are missing */}
	turns[i] <- true
	wait(1)
	copyPage(kept, at)
	try("register", ioctl(fd, 0xc020aa00, unsafe.Pointer(&register)))
	copyPage(kept, at)
	_, _, err = syscall.Syscall(syscall.SYS_MADVISE, at, page, 4 /* MADV_DONTNEED */)
	try("take the page away", err)
	atomic.StoreInt32(&away, 2)
	wait(3)
	back := [5]uint64{uint64(at), uint64(kept), page}
	try("bring the page back", ioctl(fd, 0xc028aa03, unsafe.Pointer(&back)))
	atomic.StoreInt32(&away, 4)
	done.Wait()
	for n := 0; os.Args[2] == "end" && n < 100 && !start(gs[i]); n++ {
	}
	fmt.Println("done", sum)
}

//go:nocheckptr
func copyPage(to, from uintptr) {
	copy((*[4096]byte)(unsafe.Pointer(to))[:], (*[4096]byte)(unsafe.Pointer(from))[:])
}
`

// untold is what is said of the results of a call whose return was put off.
const untold = "ret.0: the goroutine could not be read when the call returned"

// Calls that come and go while their goroutine cannot be read are told when it can:
// with their parents, arguments and durations. Where they are too many, each is counted.
func TestLate(t *testing.T) {
	const unclear = "child -> parent: the go statement that started the goroutine was not seen, or not clearly in nothing"
	for _, options := range []testprog.Options{{GoVersion: "go1.18.10"}, {}} {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, awayProgram, options)
			kerneltest.Require(t)
			begin := []string{
				"work(1) -> [] in nothing",
				"nest(10) -> " + untold + " in work(1)",
				"leaf(10) -> " + untold + " in nest(10)",
				"leaf(11) -> " + untold + " in nest(10)",
				"fail(1) -> " + untold + " in work(1)",
				"leaf(100) -> " + untold + " in work(1)",
			}
			for then, end := range map[string][]string{
				"return":   {"hold(7) -> [7] in work(1)"},
				"call":     {"hold(7) -> [7] in work(1)", "leaf(1000) -> [1001] in hold(7)"},
				"go":       {"hold(7) -> [7] in work(1)", "child -> [] in hold(7)"},
				"panic":    {"hold(7) -> panic in work(1)"},
				"assembly": {"hold(7) -> [7] in work(1)", "assembly -> [] in hold(7)"},
			} {
				spans, summary := traceAway(t, exe, 1, then)
				got := describe(spans)
				if then == "go" && got[len(got)-1] == unclear {
					// it was about to be preempted: whose child that is is not known then
					end[1] = unclear
				}
				if want := slices.Concat(begin, end); !slices.Equal(got, want) {
					t.Errorf("%s: %+v\n%s\nnot\n%s", then, summary, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if lost := summary.Lost; summary.LostSpans() != 0 || lost.Unpaired != 0 || lost.Unreadable != 5 {
					t.Errorf("%s: lost: %+v", then, summary)
				}
			}

			want := []string{
				"work(100) -> [] in nothing",
				"leaf(1000) -> [1001] in work(100)",
			}
			spans, summary := traceAway(t, exe, 100, "call")
			if got := describe(spans); !slices.Equal(got, want) {
				t.Errorf("spans:\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if lost := uint64(4 + 100 + 1); summary.LostSpans() != lost || summary.Lost.NoGoroutine != lost || summary.Open != 0 {
				t.Errorf("lost: %+v", summary)
			}
		})
	}
}

// Where the return alone is put off: it is told before the next hit, be it a recovery,
// on a stack that was moved before.
func TestLateReturn(t *testing.T) {
	exe := testprog.Build(t, awayProgram, testprog.Options{})
	kerneltest.Require(t)
	for how, want := range map[string][]string{
		"grow":    {"work(1) -> [] in nothing", "grow(20) -> " + untold + " in work(1)", "leaf(1000) -> [1001] in work(1)"},
		"recover": {"work(1) -> [] in nothing", "recovers -> [] in work(1)", "grow(20) -> " + untold + " in recovers", "leaf(1000) -> [1001] in work(1)"},
	} {
		spans, summary := traceAway(t, exe, 1, how)
		if got := describe(spans); !slices.Equal(got, want) || summary.LostSpans() != 0 || summary.Lost.Unpaired != 0 {
			t.Errorf("%s: %+v\n%s\nnot\n%s", how, summary, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// A call that was put off and has ended is not taken for one of the goroutine that has
// its g by then.
func TestLateOfEnded(t *testing.T) {
	exe := testprog.Build(t, awayProgram, testprog.Options{})
	kerneltest.Require(t)
	spans, summary := traceAway(t, exe, 1, "end")
	byID := make(map[span.ID]*span.Span)
	calls := make(map[string]*span.Span)
	for _, s := range spans {
		byID[s.ID] = s
		calls[fmt.Sprint(s.Function.FullName, s.Args[0].Value)] = s
	}
	first, next := calls["main.leaf100"], calls["main.leaf2000"]
	if first == nil || next == nil || summary.LostSpans() != 0 {
		t.Fatalf("%d spans, %+v", len(spans), summary)
	}
	if first.Parent != (span.ID{}) || first.Goroutine != 0 || first.TraceID == next.TraceID {
		t.Errorf("the call of the goroutine that has ended is of goroutine %d, in %v", first.Goroutine, byID[first.Parent])
	}
	if parent := byID[next.Parent]; parent == nil || parent.Function.FullName != "main.start" || next.Goroutine == 0 {
		t.Errorf("that of the next one is of goroutine %d, in %v", next.Goroutine, parent)
	}
}

// The same calls, counted by their durations and errors.
func TestLateHistograms(t *testing.T) {
	exe := testprog.Build(t, awayProgram, testprog.Options{})
	kerneltest.Require(t)
	all, summary, _ := count(t, instrument.Config{Rules: plan.Rules{Patterns: awayPatterns}},
		awayCommand(exe, "1", "call"))
	for name, want := range map[string][2]uint64{
		"main.work": {1, 0}, "main.nest": {1, 0}, "main.leaf": {4, 0}, "main.fail": {1, 1}, "main.hold": {1, 0},
	} {
		if h := all[name]; h.Calls != want[0] || h.Errors != want[1] {
			t.Errorf("%s: %d calls, %d errors, not %v", name, h.Calls, h.Errors, want)
		}
	}
	if summary.LostSpans() != 0 {
		t.Errorf("lost: %+v", summary)
	}
}

var awayPatterns = []string{"main.work", "main.nest", "main.leaf", "main.fail", "main.hold", "main.child",
	"main.assembly", "main.grow", "main.recovers", "main.start"}

// awayCommand has no signals that preempt: what handles them touches the goroutine,
// which would sleep for ever.
func awayCommand(exe string, args ...string) target.Command {
	return target.Command{Path: exe, Args: args, Env: append(os.Environ(), "GODEBUG=asyncpreemptoff=1")}
}

// traceAway traces the program while it calls so many leaves, and then does something.
func traceAway(t *testing.T, exe string, leaves int, then string) ([]*span.Span, *instrument.Summary) {
	spans, summary, printed := trace(t,
		instrument.Config{Rules: plan.Rules{Patterns: awayPatterns, Values: true}},
		awayCommand(exe, strconv.Itoa(leaves), then))
	if what, failed := strings.CutPrefix(string(printed), "cannot "); failed {
		kerneltest.Missing(t, "this kernel lets no program %s", what)
	}
	return spans, summary
}

// describe says of calls, in the order in which they began, what they were.
func describe(spans []*span.Span) (lines []string) {
	slices.SortFunc(spans, func(a, b *span.Span) int { return a.Start.Compare(b.Start) })
	name := func(s *span.Span) string {
		var n int64
		ok := len(s.Args) > 0
		if ok {
			n, ok = s.Args[0].Value.(int64)
		}
		if !ok {
			return strings.TrimPrefix(s.Function.FullName, "main.")
		}
		return fmt.Sprintf("%s(%d)", strings.TrimPrefix(s.Function.FullName, "main."), n)
	}
	for _, s := range spans {
		var results any = []any{}
		parent := "nothing"
		for _, other := range spans {
			if other.ID == s.Parent {
				parent = name(other)
				if s.Start.Before(other.Start) || s.End.After(other.End) {
					parent += ", whose duration is another"
				}
			}
		}
		if len(s.Results) > 0 {
			results = []any{s.Results[0].Value}
		}
		switch {
		case s.Incomplete != "":
			results = s.Incomplete
		case len(s.Unavailable) > 0:
			results = strings.Join(s.Unavailable, ", ")
		}
		lines = append(lines, fmt.Sprintf("%s -> %v in %s", name(s), results, parent))
	}
	return lines
}
