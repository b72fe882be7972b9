package instrument_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// ways are how a function of the generated program, `way%d`, goes on with a chain:
// it calls next, in one way or another. %[1]d is its number.
var ways = []string{
	`func way%[1]d(c []byte) { inner%[1]d(c, len(c)) }
func inner%[1]d(c []byte, n int) { if n >= 0 { innermost%[1]d(c) } }
func innermost%[1]d(c []byte) { next(c) }`,

	`//go:noinline
func way%[1]d(c []byte) { var a [300]byte; copy(a[:], c); next(c); sink += int(a[7]) }`,

	`type thing%[1]d struct{ n int }
//go:noinline
func (t *thing%[1]d) Do(c []byte) { next(c); t.n++ }
func way%[1]d(c []byte) { var d doer = &thing%[1]d{}; some(&d); d.Do(c) }`,

	`type base%[1]d struct{ n int }
//go:noinline
func (t base%[1]d) Do(c []byte) { next(c); sink += t.n }
type whole%[1]d struct{ a int; *base%[1]d }
func way%[1]d(c []byte) { var d doer = whole%[1]d{1, &base%[1]d{}}; some(&d); d.Do(c) }`,

	`func way%[1]d(c []byte) { func() { defer func() { next(c) }(); sink++ }() }`,

	`func each%[1]d[T any](v []T, do func(T)) { for _, x := range v { do(x) } }
func way%[1]d(c []byte) { each%[1]d([]int{len(c)}, func(int) { next(c) }) }`,

	`//go:noinline
func way%[1]d(c []byte) { defer func() { next(c); recover() }(); panic("chain") }`,

	`//go:noinline
func load%[1]d(p *int) int { return *p }
func way%[1]d(c []byte) { defer func() { next(c); recover() }(); sink += load%[1]d(nowhere) }`,

	`func way%[1]d(c []byte) { reflect.ValueOf(next).Call([]reflect.Value{reflect.ValueOf(c)}) }`,

	`type bound%[1]d struct{ n int }
func (b *bound%[1]d) Go(c []byte) { next(c); b.n++ }
func way%[1]d(c []byte) { f := (&bound%[1]d{}).Go; twice(&f); f(c) }`,

	`func way%[1]d(c []byte) { done := make(chan bool); go func() { next(c); done <- true }(); <-done }`,

	`func way%[1]d(c []byte) { new(sync.Once).Do(func() { next(c) }) }`,

	`//go:noinline
func deep%[1]d(c []byte, n int) { var a [1000]int; if n > 0 { deep%[1]d(c, n-1); sink += a[n]; return }; next(c) }
func way%[1]d(c []byte) { deep%[1]d(c, len(c)*2) }`,
}

// The target prints, for each call of main.target, the frames that runtime.Callers
// shows there, and what began its goroutine.
const chains = `-- go.mod --
module example.com/chains

go 1.18
-- main.go --
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

type doer interface{ Do(c []byte) }

type stack struct {
	Functions []string
	Lines     []int
	Creator   string
}

var (
	sink    int
	nowhere *int
	stacks  []stack
	_       reflect.Value
	_       sync.Once
)

//go:noinline
func some(d *doer) {}

//go:noinline
func twice(f *func([]byte)) {}

//go:noinline
func target() {
	pcs := make([]uintptr, 1000)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	var s stack
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		s.Functions = append(s.Functions, f.Function)
		s.Lines = append(s.Lines, f.Line)
	}
	if _, rest, ok := strings.Cut(string(debug.Stack()), "created by "); ok {
		s.Creator, _, _ = strings.Cut(rest, "\n")
		s.Creator, _, _ = strings.Cut(s.Creator, " in goroutine")
	}
	stacks = append(stacks, s)
}

//go:noinline
func next(c []byte) {
	if len(c) == 0 {
		target()
		return
	}
	switch c[0] {
%s	}
}

func main() {
%s	json.NewEncoder(os.Stdout).Encode(stacks)
}
%s`

// generateChains is a program with random functions and random chains of calls of them.
func generateChains(n int) string {
	random := rand.New(rand.NewPCG(6, 18))
	var cases, calls, functions strings.Builder
	const functionsMade = 40
	for i := range functionsMade {
		fmt.Fprintf(&cases, "\tcase %d:\n\t\tway%d(c[1:])\n", i, i)
		way := ways[i%len(ways)]
		if i >= len(ways) {
			way = ways[random.IntN(len(ways))]
		}
		fmt.Fprintf(&functions, way+"\n\n", i)
	}
	for range n {
		chain := make([]string, random.IntN(10))
		for i := range chain {
			chain[i] = fmt.Sprint(random.IntN(functionsMade))
		}
		fmt.Fprintf(&calls, "\tnext([]byte{%s})\n", strings.Join(chain, ", "))
	}
	return fmt.Sprintf(chains, cases.String(), calls.String(), functions.String())
}

// The stack of every call is what the target's own runtime says at the same point,
// with what was inlined, over panics, traps, reflection and stacks that grow.
func TestStacks(t *testing.T) {
	source := generateChains(1000)
	for _, version := range []string{"go1.18.10", "go1.21.13", "", "go1.27.1"} {
		for _, options := range []testprog.Options{
			{GoVersion: version},
			{GoVersion: version, Flags: []string{"-gcflags=all=-N -l"}},
			{GoVersion: version, Strip: true},
			{GoVersion: version, Flags: []string{"-buildmode=pie"}},
		} {
			t.Run(options.String(), func(t *testing.T) {
				exe := testprog.Build(t, source, options)
				kerneltest.Require(t)
				config := instrument.Config{Rules: plan.Rules{Patterns: []string{"main.target"}}, Stacks: true}
				if runtime.GOARCH == "arm64" && version == "go1.18.10" {
					refuses(t, config, exe, "its stacks cannot be told")
					return
				}
				spans, summary, printed := trace(t, config, target.Command{Path: exe})
				var want []struct {
					Functions []string
					Lines     []int
					Creator   string
				}
				if err := json.NewDecoder(bytes.NewReader(printed)).Decode(&want); err != nil {
					t.Fatal(err)
				}
				if len(spans) != 1000 || len(want) != 1000 || summary.LostSpans() != 0 {
					t.Fatalf("%d spans, %d stacks, %+v", len(spans), len(want), summary)
				}
				wrong, whole := 0, 0
				for i, s := range spans {
					var expected []string
					for j, f := range want[i].Functions {
						switch line := want[i].Lines[j]; {
						case f == "runtime.goexit": // which no traceback shows
						case j == 0:
							expected = append(expected, f)
						default:
							expected = append(expected, fmt.Sprintf("%s:%d", f, line))
						}
					}
					if want[i].Creator != "" {
						expected = append(expected, "created by "+want[i].Creator)
					}
					stack := stackOf(s)
					if runtime.GOARCH == "arm64" { // see turns in gobin
						if expected, whole = beforeCut(expected, stack, whole); len(stack) == 0 {
							t.Fatalf("call %d has no stack", i)
						}
					}
					if diff := cmp.Diff(expected, stack); diff != "" {
						if wrong++; wrong <= 3 {
							t.Errorf("call %d: (-runtime.Callers +span)\n%s", i, diff)
						}
					}
				}
				if wrong > 3 {
					t.Errorf("%d stacks are wrong", wrong)
				}
				if runtime.GOARCH == "arm64" && whole < 300 {
					t.Errorf("%d stacks are whole", whole)
				}
			})
		}
	}
}

// growing has goroutines whose stacks grow several times under deep.
const growing = `-- go.mod --
module example.com/growing

go 1.18
-- main.go --
package main

var sink int

//go:noinline
func deep(n int) {
	var a [200]int
	if n > 0 {
		deep(n - 1)
		sink += a[n]
	}
}

//go:noinline
func root(done chan bool) {
	deep(100)
	done <- true
}

func main() {
	done := make(chan bool)
	for i := 0; i < 5; i++ {
		go root(done)
		<-done
	}
}
`

// traceStacks traces functions of the runtime with their stacks; nil where those cannot
// be told, which is refused then.
func traceStacks(t *testing.T, exe string, options testprog.Options, rules plan.Rules) []*span.Span {
	t.Helper()
	config := instrument.Config{Rules: rules, Stacks: true}
	if runtime.GOARCH == "arm64" && options.GoVersion == "go1.18.10" {
		refuses(t, config, exe, "its stacks cannot be told")
		return nil
	}
	spans, summary, _ := trace(t, config, target.Command{Path: exe})
	if summary.LostSpans() != 0 || summary.Lost.Unpaired != 0 {
		t.Errorf("%+v", summary)
	}
	if len(spans) == 0 {
		t.Fatal("no spans")
	}
	return spans
}

// In the middle of a growth, on g0, a stack goes on with the goroutine's own, which is
// being copied: deeper at each growth.
func TestStacksInGrowth(t *testing.T) {
	for _, options := range []testprog.Options{
		{GoVersion: "go1.18.10"},
		{GoVersion: "go1.21.13", Flags: []string{"-buildmode=pie"}},
		{},
		{Flags: []string{"-ldflags=-s -w"}},
		{GoVersion: "go1.27.1"},
	} {
		t.Run(options.String(), func(t *testing.T) {
			exe := testprog.Build(t, growing, options)
			kerneltest.Require(t)
			spans := traceStacks(t, exe, options, plan.Rules{Patterns: []string{"runtime.copystack"}})
			if spans == nil {
				return
			}
			grown, deepest := 0, 0
			for _, s := range spans {
				if s.Stack == nil {
					t.Fatal("a call without a stack")
				}
				var names []string
				for _, f := range s.Stack.Frames {
					names = append(names, f.Function)
				}
				if runtime.GOARCH == "arm64" { // see turns in gobin
					if diff := cmp.Diff([]string{"runtime.copystack", "runtime.newstack", "runtime.morestack"}, names); diff != "" || !s.Stack.Cut {
						t.Errorf("cut %t: %s", s.Stack.Cut, diff)
					}
					grown, deepest = grown+1, 50
					continue
				}
				if !slices.Contains(names, "main.deep") {
					continue // the runtime's own
				}
				deep := len(names) - 4
				want := slices.Concat([]string{"runtime.copystack", "runtime.newstack", "runtime.morestack"},
					slices.Repeat([]string{"main.deep"}, max(deep, 0)), []string{"main.root"})
				if diff := cmp.Diff(want, names); diff != "" || s.Stack.Cut {
					t.Errorf("cut %t: %s", s.Stack.Cut, diff)
				}
				grown, deepest = grown+1, max(deepest, deep)
			}
			// Each goroutine needs some 170 KB in the end: 32 KiB grow three times.
			if grown < 3 || deepest < 50 {
				t.Errorf("%d growths, at most %d deep", grown, deepest)
			}
		})
	}
}

// beforeCut is what a stack that is cut has to have of the expected one, and counts
// those that are whole.
func beforeCut(expected, stack []string, whole int) ([]string, int) {
	at := slices.Index(stack, "cut")
	if at < 0 {
		return expected, whole + 1
	}
	cut := append(slices.Clone(expected[:min(at, len(expected))]), "cut")
	if last := expected[len(expected)-1]; strings.HasPrefix(last, "created by ") {
		cut = append(cut, last)
	}
	return cut, whole
}

func stackOf(s *span.Span) []string {
	if s.Stack == nil {
		return nil
	}
	var frames []string
	for i, f := range s.Stack.Frames {
		if i == 0 {
			frames = append(frames, f.Function)
			continue
		}
		frames = append(frames, fmt.Sprintf("%s:%d", f.Function, f.Line))
	}
	if s.Stack.Cut {
		frames = append(frames, "cut")
	}
	if s.Stack.Creator != nil {
		frames = append(frames, "created by "+s.Stack.Creator.Function)
	}
	return frames
}
