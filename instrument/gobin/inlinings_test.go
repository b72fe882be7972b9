package gobin

import (
	"slices"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// Calls that are inlined, in two functions and into each other, and calls that are not.
func TestInlinings(t *testing.T) {
	source := "-- go.mod --\nmodule m\ngo 1.18\n-- main.go --\n" + `package main

var sink int

func tiny(n int) int { sink += n; return sink }

func small(n int) int { return tiny(n) * 3 }

//go:noinline
func first(n int) int { return small(n) + tiny(n*5) }

//go:noinline
func second(n int) int { return small(n) }

func main() { sink = first(1) + second(2) + first(3) }
`
	for _, version := range testprog.Versions() {
		for _, arch := range []string{"amd64", "arm64"} {
			o := testprog.Options{GoVersion: version, GOARCH: arch, Flags: []string{"-ldflags=-s -w"}}
			t.Run(o.String(), func(t *testing.T) {
				f := open(t, testprog.Build(t, source, o))
				counts := f.Inlinings()
				if counts["main.tiny"] != 3 || counts["main.small"] != 2 || counts["main.first"] != 0 {
					t.Errorf("tiny %d, small %d, first %d", counts["main.tiny"], counts["main.small"], counts["main.first"])
				}
				copies := f.Copies(func(symbol string) bool { return symbol == "main.tiny" })
				tiny, in := copies["main.tiny"], []string(nil)
				for _, fn := range tiny.In {
					in = append(in, fn.Name)
				}
				if len(copies) != 1 || tiny.Calls != 3 || !slices.Equal(in, []string{"main.first", "main.second"}) {
					t.Errorf("%d copies of tiny in %q, and of %d others", tiny.Calls, in, len(copies)-1)
				}
				first, second := find(t, f, "main.first").Entry, find(t, f, "main.second").Entry
				calls := map[uint64]int{first: 0, second: 0}
				f.CountCalls(calls)
				if calls[first] != 2 || calls[second] != 1 {
					t.Errorf("first %d, second %d", calls[first], calls[second])
				}
			})
		}
	}
}
