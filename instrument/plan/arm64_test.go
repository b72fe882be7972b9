package plan

import (
	"os"
	"slices"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

// Every release makes frames of all sizes in its own way: the entry is the last
// branch of the stack check, behind which the frame is made; in front of
// morestack all arguments are still in their registers.
func TestFramesARM64(t *testing.T) {
	source, err := os.ReadFile("testdata/frames.txtar")
	if err != nil {
		t.Fatal(err)
	}
	const both = 1<<0 | 1<<1 // the arguments that are used
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{nil, {"-buildmode=pie"}, {"-gcflags=all=-N -l"}} {
			options := testprog.Options{GoVersion: version, GOARCH: "arm64", Flags: flags}
			optimised := !slices.Contains(flags, "-gcflags=all=-N -l")
			t.Run(options.String(), func(t *testing.T) {
				f, err := gobin.Open(testprog.Build(t, string(source), options))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				for _, test := range []struct {
					name            string
					checked, framed bool
					least           int32 // bytes of its frame
					stored          uint16
				}{
					{"small", true, true, 8, both},
					{"largest", true, true, 200, both},
					{"big", true, true, 2000, both},
					{"huge", true, true, 5000, both},
					{"huger", true, true, 70000, both},
					{"leafBig", true, true, 3000, both},
					{"noSplit", false, true, 300, 0},
					{"leafSmall", false, true, 30, 0},
					{"leaf", false, !optimised, 0, 0},
					{"empty", false, false, 0, 0},
					{"unused", true, true, 8, 0},
					{"all", true, true, 8, 1<<14 - 1},
				} {
					checkFrame(t, f, "main."+test.name, test.checked, test.framed, test.least, test.stored, optimised)
				}
			})
		}
	}
}

func checkFrame(t *testing.T, f *gobin.File, symbol string, checked, framed bool, least int32, stored uint16, optimised bool) {
	t.Helper()
	i := slices.IndexFunc(f.Functions(), func(fn gobin.Function) bool { return fn.Symbol == symbol })
	if i < 0 {
		t.Fatalf("no function %s", symbol)
	}
	fn := &f.Functions()[i]
	body, err := f.Body(fn)
	if err != nil || body.Undecoded != 0 {
		t.Fatalf("%s: %v, undecoded at %#x", symbol, err, body.Undecoded)
	}
	ins := body.Instructions
	p := arm64.prologue(ins)
	if p.checked != checked || p.broken != "" || optimised && p.framed != framed {
		t.Errorf("%s: %+v", symbol, p)
		return
	}
	delta := func(i int) int32 {
		delta, ok := f.StackDelta(fn, ins[i].Addr)
		if !ok {
			t.Errorf("%s: no stack pointer at %#x", symbol, ins[i].Addr)
		}
		return delta
	}
	if delta(p.entry) != 0 {
		t.Errorf("%s: the frame is made in front of the entry", symbol)
	}
	for i := p.entry; i < p.entry+6 && framed && delta(i) < least; i++ {
		if i == p.entry+5 {
			t.Errorf("%s: the frame is not made behind the entry", symbol)
		}
	}
	r := arm64.restartOf(fn, ins, p)
	switch {
	case !checked:
		if p.entry != 0 || r != nil {
			t.Errorf("%s: enters at %d, restarts at %+v", symbol, p.entry, r)
		}
		return
	case ins[p.entry].Kind != gobin.CondJump || condition(&ins[p.entry]) != lowerOrSame:
		t.Errorf("%s: enters at %+v", symbol, ins[p.entry])
	case r == nil || word(r.site.Bytes) != moveLinkR3 || !r.site.Restart:
		t.Fatalf("%s: restarts at %+v", symbol, r)
	}
	if optimised && r.stored != stored {
		t.Errorf("%s: brings %b through, want %b", symbol, r.stored, stored)
	}
	at := slices.IndexFunc(ins, func(in gobin.Instruction) bool { return in.Addr == r.site.Addr })
	to, _ := f.Lookup(ins[at+1].Target)
	if delta(at) != 0 || ins[at+1].Kind != gobin.Call || to == nil || to.Symbol != "runtime.morestack_noctxt" {
		t.Errorf("%s: %+v follows on its restart, to %v", symbol, ins[at+1], to)
	}
}

// A function without a frame may begin with instructions that the runtime, where
// it interrupts a goroutine between them, executes anew from the first on. A probe
// there would count the call again: it is on the last of them.
func TestSequenceARM64(t *testing.T) {
	const source = `
-- go.mod --
module example.com/sequence

go 1.18
-- main.go --
package main

import "sync/atomic"

var sum int64

//go:noinline
func add(n int64) { atomic.AddInt64(&sum, n) }

func main() { add(1) }
`
	for _, version := range testprog.Versions() {
		t.Run(version, func(t *testing.T) {
			f, err := gobin.Open(testprog.Build(t, source, testprog.Options{GOARCH: "arm64", GoVersion: version}))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			p, err := Build(f, Rules{Patterns: []string{"main.add"}})
			if err != nil {
				t.Fatal(err)
			}
			fn := &p.Functions[0]
			// ADRP R27; [ADD R27;] MOVBU n(R27), R1
			site := fn.Entries[0]
			if w := word(site.Bytes); site.Addr == fn.Entry || w>>5&31 != temporaryR27 || w&31 == temporaryR27 {
				t.Errorf("the entry is at +%#x: %+v", site.Addr-fn.Entry, site)
			}
		})
	}
}

// An argument that nothing uses is read in front of morestack, also where its
// register is the one that morestack gets the return address in.
func TestRestartARM64(t *testing.T) {
	source, err := os.ReadFile("testdata/frames.txtar")
	if err != nil {
		t.Fatal(err)
	}
	f, err := gobin.Open(testprog.Build(t, string(source), testprog.Options{GOARCH: "arm64"}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Build(f, Rules{Patterns: []string{"main.unused", "main.small"}, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Functions {
		fn := &p.Functions[i]
		if fn.Restarts() != (fn.Name == "main.unused") {
			t.Errorf("%s: %+v", fn.Name, fn.Entries)
		}
	}
}
