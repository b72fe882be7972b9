package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

const spawning = `
-- go.mod --
module example.com/spawning

go 1.21
-- main.go --
package main

import "sync"

type group struct{ sync.WaitGroup }

//go:noinline
func (g *group) Go(f func()) {
	g.Add(1)
	go func() {
		defer g.Done()
		f()
	}()
}

//go:noinline
func direct(done chan bool) { go func() { done <- true }() }

//go:noinline
func helped(g *group, done chan bool) { g.Go(func() { done <- true }) }

//go:noinline
func named(done chan bool) { go relay(done) }

func relay(done chan bool) { go finish(done) }

func finish(done chan bool) { done <- true }

//go:noinline
func elsewhere(done chan bool) { go finish(done) }

func main() {
	done := make(chan bool, 5)
	var g group
	direct(done)
	helped(&g, done)
	named(done)
	elsewhere(done)
	g.Go(func() { done <- true })
	for i := 0; i < 5; i++ {
		<-done
	}
}
`

// The go statements of traced functions get a probe, those of what they call
// directly and of what they begin, and no others.
func TestGoSites(t *testing.T) {
	for _, options := range []testprog.Options{{}, {GoVersion: "go1.18.10"}, {Flags: []string{"-gcflags=all=-N -l"}},
		{Flags: []string{"-buildmode=pie"}}, {GOARCH: "arm64"}} {
		t.Run(options.String(), func(t *testing.T) {
			source := spawning
			if options.GoVersion != "" {
				source = strings.Replace(source, "go 1.21", "go 1.18", 1)
			}
			f, err := gobin.Open(testprog.Build(t, source, options))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			p, err := Build(f, Rules{Patterns: []string{"main.direct", "main.helped", "main.named", "main.main"}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, site := range p.GoSites {
				got = append(got, fmt.Sprintf("%s: %s", site.Name, site.Why))
			}
			slices.Sort(got)
			want := []string{
				"main.(*group).Go: called by a traced function",
				"main.direct: traced",
				"main.named: traced",
				"main.relay: begun by one of these statements",
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			text := printed(t, p)
			if !strings.Contains(text, "\ngo statements whose goroutines belong to the call that they are in\n") {
				t.Error(text)
			}
		})
	}
}
