package main

import (
	"encoding/json"
	"os"
	"runtime"
	"testing"
)

// failNow runs tests, which end as tests do, and then the process.
func failNow() {
	out := os.Stdout
	os.Stdout, _ = os.OpenFile(os.DevNull, os.O_WRONLY, 0) // where the tests' results go
	// leaving is a test whose calls are ended by what the function does.
	leaving := func(name string, leave func(t *testing.T)) testing.InternalTest {
		return testing.InternalTest{Name: name, F: func(t *testing.T) {
			g := born(0)
			f := born(g.ID)
			f.End, g.End = "goexit", "goexit"
			guard(g.ID, 0, func() { frame(f.ID, g.ID, func() { leave(t) }) }, func() { call(f.ID, nothing) })
		}}
	}
	goroutines := 0
	testing.Main(func(pattern, name string) (bool, error) { return true, nil }, []testing.InternalTest{
		{Name: "First", F: func(*testing.T) { goroutines = runtime.NumGoroutine() }},
		leaving("FailNow", func(t *testing.T) { t.FailNow() }),
		leaving("Fatal", func(t *testing.T) { t.Fatal("as said") }),
		leaving("SkipNow", func(t *testing.T) { t.SkipNow() }),
		{Name: "Run", F: func(t *testing.T) {
			f := born(0)
			frame(f.ID, 0, func() { t.Run("within", leaving("", func(t *testing.T) { t.FailNow() }).F) })
		}},
		{Name: "Last", F: func(*testing.T) {
			for runtime.NumGoroutine() > goroutines { // as in alone
				runtime.Gosched()
			}
			ended(0)
			json.NewEncoder(out).Encode(fates.all)
		}},
	}, nil, nil)
}
