package instrument_test

import (
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// exact traces a command that prints how often its functions ran.
func exact(t *testing.T, names []string, command target.Command) {
	t.Helper()
	var patterns []string
	for _, name := range names {
		patterns = append(patterns, "*"+name) // an import path may stand before it
	}
	spans, summary, printed := trace(t, instrument.Config{Rules: plan.Rules{Patterns: patterns, Values: true}}, command)
	compareCounts(t, names, spans, printed)
	if summary.LostSpans() != 0 || summary.Open != 0 || summary.Lost.Unpaired != 0 {
		t.Errorf("lost: %+v", summary)
	}
}

// Assembly for amd64 does not keep g in its register: it is where the executable has
// it among the thread-local variables of C's.
func TestThreadLocalG(t *testing.T) {
	const source = "-- go.mod --\nmodule example.com/assembly\n\ngo 1.18\n-- add/add.go --\npackage add\n\nfunc Add(a, b int64) int64\n" +
		"-- add/add_amd64.s --\n#include \"textflag.h\"\n\n// Uses R14, in which Go code has g.\n" +
		"TEXT ·Add(SB), NOSPLIT, $0-24\n\tMOVQ a+0(FP), R14\n\tADDQ b+8(FP), R14\n\tMOVQ R14, ret+16(FP)\n\tRET\n" +
		"-- add/add_arm64.s --\n#include \"textflag.h\"\n\n" +
		"TEXT ·Add(SB), NOSPLIT, $0-24\n\tMOVD a+0(FP), R0\n\tMOVD b+8(FP), R1\n\tADD R1, R0\n\tMOVD R0, ret+16(FP)\n\tRET\n" +
		"-- main.go --\npackage main\n\nimport (\n\t\"fmt\"\n\t\"runtime\"\n\t\"sync/atomic\"\n\n\t\"example.com/assembly/add\"\n)\n" + `
func main() {
	var calls int64
	done := make(chan bool)
	for i := int64(0); i < 200; i++ {
		go func() {
			for n := int64(0); n < 20; n++ {
				add.Add(n, atomic.AddInt64(&calls, 1))
				runtime.Gosched()
			}
			done <- true
		}()
	}
	for i := 0; i < 200; i++ {
		<-done
	}
	fmt.Printf("{\"add.Add\": %d}\n", calls)
}
` + testprog.C
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{
			{"-tags=thread"},
			{"-tags=thread", "-buildmode=pie"},
			{"-tags=thread", "-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-static-pie"},
		} {
			o := testprog.Options{GoVersion: version, Cgo: true, Flags: flags, Strip: true}
			t.Run(o.String(), func(t *testing.T) {
				exe := testprog.Build(t, source, o)
				kerneltest.Require(t)
				exact(t, []string{"add.Add"}, target.Command{Path: exe})
			})
		}
	}
}
