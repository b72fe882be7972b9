package instrument_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// counts is an Output that counts by function.
type counts map[string]int

func (c counts) Export(spans []*span.Span) {
	for _, s := range spans {
		c[s.Function.FullName]++
	}
}

// Ten thousand functions are traced while their program works, which does what it
// does without: the go command, and with TEST_ALL=1, as it takes minutes to build,
// rclone.
func TestScale(t *testing.T) {
	kerneltest.Require(t)
	if _, err := exec.LookPath("go"); err != nil {
		kerneltest.Missing(t, "there is no go command in this machine")
	}
	t.Run("go", traceGoCommand)
	if os.Getenv("TEST_ALL") == "1" {
		t.Run("rclone", traceRclone)
	}
}

// traceGoCommand traces the go command while it builds a program.
func traceGoCommand(t *testing.T) {
	dir := t.TempDir()
	goCommand, err := testprog.CopyGo(dir)
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "main.go")
	for name, text := range map[string]string{
		filepath.Join(dir, "go.mod"): "module example.com/program\n\ngo 1.21\n",
		source:                       "package main\n\nfunc main() { println() }\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOFLAGS=", "GOWORK=off")
	arguments := func(out string) []string {
		return []string{"build", "-C", dir, "-ldflags=-buildid=", "-o", filepath.Join(dir, out), "."}
	}
	plain := exec.Command(goCommand, arguments("plain")...)
	plain.Env = env
	if out, err := plain.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	// It has to be compiled anew, and comes out the same.
	file, err := os.OpenFile(source, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(file, "\n// %s\n", dir)
	file.Close()
	traced := scale(t, target.Command{Path: goCommand, Args: arguments("traced"), Env: env}, "*")
	for _, name := range []string{"main.main", "cmd/go/internal/work.runBuild", "cmd/go/internal/work.gcToolchain.gc", "cmd/go/internal/work.gcToolchain.ld"} {
		if traced[name] != 1 {
			t.Errorf("%d calls of %s, not 1", traced[name], name)
		}
	}
	want, err := os.ReadFile(filepath.Join(dir, "plain"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "traced")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what the traced go command built differs, or %v", err)
	}
}

// traceRclone traces as many functions of an executable of 110 MB.
func traceRclone(t *testing.T) {
	rclone, err := testprog.BuildRclone()
	if err != nil {
		t.Fatal(err)
	}
	// A copy: what others do with the one in the cache is not seen here.
	dir := t.TempDir()
	data, err := os.ReadFile(rclone)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "rclone")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config", "", "hashsum", "sha256", filepath.Join(dir, "files"), "--output-file"}
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		name := filepath.Join(dir, "files", fmt.Sprint(i))
		if err := os.WriteFile(name, bytes.Repeat([]byte(name), 1000*i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	scale(t, target.Command{Path: path, Args: append(args, filepath.Join(dir, "traced"))}, testprog.RclonePattern)
	if out, err := exec.Command(path, append(args, filepath.Join(dir, "plain"))...).CombinedOutput(); err != nil {
		t.Fatalf("rclone: %v\n%s", err, out)
	}
	lines := func(name string) map[string]bool {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all := make(map[string]bool)
		for line := range strings.Lines(string(text)) {
			all[line] = true
		}
		return all
	}
	want, got := lines("plain"), lines("traced")
	for line := range want {
		if !got[line] {
			t.Errorf("no %q", line)
		}
	}
	if len(want) != 20 || len(got) != 20 {
		t.Errorf("%d lines, %d without uspan", len(got), len(want))
	}
}

// scale traces a command with the functions that a pattern matches, ten
// thousand at least, and returns the numbers of their calls. Nothing is lost,
// and nothing is left.
func scale(t *testing.T, command target.Command, pattern string) counts {
	t.Helper()
	spans := make(counts)
	functions := 0
	config := instrument.Config{
		Command: &command,
		Rules:   plan.Rules{Patterns: []string{pattern}, Values: true},
		Outputs: []instrument.Output{spans},
		Log:     func(string) {},
		Say: func(message string) {
			t.Log(message)
			fmt.Sscanf(message, "tracing %d functions", &functions)
		},
	}
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	command.Stdout, command.Stderr = output, output
	trace, err := instrument.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	objects := objectsOf(os.Getpid())
	summary, err := trace.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status, err := trace.Command().Wait()
	if err != nil || status.ExitCode() != 0 {
		printed, _ := os.ReadFile(output.Name())
		t.Errorf("the command ended with %v, %v\n%s", status, err, printed)
	}
	if err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, objects, command.Path, func() string { return "" })
	total := uint64(0)
	for _, n := range spans {
		total += uint64(n)
	}
	if functions < 10000 || len(spans) < 500 {
		t.Errorf("%d functions are traced, and %d called", functions, len(spans))
	}
	if total != summary.Spans || summary.LostSpans() != 0 || summary.Lost.Unpaired != 0 || summary.Lost.ValuesFull != 0 {
		t.Errorf("%d spans came, %d were told of, %+v lost", total, summary.Spans, summary.Lost)
	}
	t.Logf("%d calls of %d functions, %d still open", total, len(spans), summary.Open)
	return spans
}

// deep has a hundred thousand calls open at once.
const deep = `
-- go.mod --
module example.com/deep

go 1.25
-- main.go --
package main

import "sync"

//go:noinline
func deep(n int) int {
	if n == 0 {
		return 0
	}
	return deep(n-1) + 1
}

func main() {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if deep(24999) != 24999 {
				panic("wrong")
			}
		})
	}
	all.Wait()
	println()
}
`

// roomForAll is a ring that all events of a short run fit into, in bytes: an emulated
// machine lets its processors take turns of 100 ms, in which nobody reads.
const roomForAll = 32 << 20

// Calls that nest as fast as they can find their place, each; where there is
// less room than they need, each is a span or counted, and no return is taken for
// that of another call, though the stack moves.
func TestManyOpenCalls(t *testing.T) {
	const calls = 100000
	exe := testprog.Build(t, deep, testprog.Options{})
	kerneltest.Require(t)
	for _, openCalls := range []int{0, instrument.MinOpenCalls} {
		spans, summary, _ := trace(t, instrument.Config{
			// Values have a bound of their own, in bytes (package attach).
			Rules:     plan.Rules{Patterns: []string{"main.deep"}, Values: openCalls != 0},
			OpenCalls: openCalls,
		}.WithRing(roomForAll), target.Command{Path: exe})
		if openCalls == 0 && (len(spans) != calls || summary.LostSpans() != 0) {
			t.Errorf("%d spans, lost %+v", len(spans), summary.Lost)
		}
		if openCalls != 0 && (len(spans) < openCalls || uint64(len(spans))+summary.LostSpans() != calls || summary.Lost.FramesFull == 0) {
			t.Errorf("room for %d open calls: %d spans, lost %+v", openCalls, len(spans), summary.Lost)
		}
		compared := 0
		for _, s := range spans {
			if len(s.Args) != 1 || len(s.Results) != 1 || s.Args[0].Value == nil || s.Results[0].Value == nil {
				continue
			}
			if compared++; s.Args[0].Value != s.Results[0].Value {
				t.Errorf("main.deep(%v) = %v", s.Args[0].Value, s.Results[0].Value)
			}
		}
		if openCalls != 0 && compared == 0 {
			t.Error("no span has values")
		}
	}
}
