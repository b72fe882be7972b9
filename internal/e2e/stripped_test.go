package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/uspan/uspan/internal/jaegertest"
	"github.com/uspan/uspan/internal/kerneltest"
)

// examples/stripped: values are there while its debug file is found, beside it or
// by a flag, and nothing but they is missing without it.
func TestStripped(t *testing.T) {
	kerneltest.Require(t)
	for _, name := range []string{"objcopy", "strip"} {
		if _, err := exec.LookPath(name); err != nil {
			kerneltest.Missing(t, "needs %s", name)
		}
	}
	uspan, dir := filepath.Join(build(t, "./cmd/uspan"), "uspan"), t.TempDir()
	run(t, root+"/examples/stripped/build", dir)
	exe, debug := filepath.Join(dir, "stripped"), filepath.Join(dir, "stripped.debug")
	elsewhere := filepath.Join(t.TempDir(), "debug")

	checkParcels(t, uspan, exe, true)
	if err := os.Rename(debug, elsewhere); err != nil {
		t.Fatal(err)
	}
	checkParcels(t, uspan, exe, false)
	checkParcels(t, uspan, exe, true, "--debug-file", elsewhere)
}

// checkParcels checks the calls of one round of the example.
func checkParcels(t *testing.T, uspan, exe string, values bool, flags ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "spans.json")
	args := append([]string{"run", "-q", "-o", "json=" + file}, flags...)
	run(t, uspan, append(args, "--", exe, "-n", "1")...)
	spans := readSpans(t, file)
	if len(spans) != 3 {
		t.Fatalf("%d spans with %q, want one for each of 3 parcels", len(spans), flags)
	}
	last := spans[0]
	for _, span := range spans {
		if span.Name != "main.quote" {
			t.Errorf("a span of %s", span.Name)
		}
		if span.Start.After(last.Start) {
			last = span
		}
	}
	to, found := last.Tags["uspan.arg.p.To"]
	if found != values || values && to != "Nagoya" {
		t.Errorf("with %q the last parcel goes to %v", flags, to)
	}
	if message := exception(last); values && message != "to Nagoya: too heavy" {
		t.Errorf("with %q its error is %q", flags, message)
	}
}

func exception(span jaegertest.Span) any {
	for _, event := range span.Events {
		return event.Fields["exception.message"]
	}
	return nil
}
