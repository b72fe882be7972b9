package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/uspan/uspan/internal/collectortest"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/otlptest"
	"github.com/uspan/uspan/internal/realserver"
	"github.com/uspan/uspan/internal/testprog"
)

// jobsSource is a program of jobs, each of which is a trace: every second one
// fails. They overlap and take a while, so that the spans of each go in several
// batches.
const jobsSource = `
-- go.mod --
module jobs

go 1.25
-- main.go --
package main

import (
	"errors"
	"sync"
	"time"
)

//go:noinline
func step(name string, n int) { time.Sleep(20 * time.Millisecond) }

//go:noinline
func job(name string) error {
	for n := range 5 {
		step(name, n)
	}
	if name[len(name)-1]%2 == 0 {
		return errors.New(name + " failed")
	}
	return nil
}

func main() {
	var jobs sync.WaitGroup
	for i := range 60 {
		jobs.Go(func() { job("job-" + string(rune('a'+i/10)) + string(rune('0'+i%10))) })
		time.Sleep(5 * time.Millisecond)
	}
	jobs.Wait()
}
`

// The two rows of Collectors of docs/many-machines.md, behind two uspans: each
// trace goes to one Collector of the second row, whole, and is decided on there.
func TestLoadBalancing(t *testing.T) {
	kerneltest.Require(t)
	addresses := realserver.FreeAddresses(t, 6)
	first, samplers := addresses[0], addresses[1:3]
	var backends []*otlptest.Receiver
	for i, address := range samplers {
		backend := otlptest.Start(t)
		backends = append(backends, backend)
		collectortest.Run(t, replace(t, read(t, root+"/examples/collector/collector.yaml"), map[string]string{
			"0.0.0.0:4317": address, "0.0.0.0:4318": "127.0.0.1:0",
			"127.0.0.1:13133":  addresses[3+i],
			"jaeger:4317":      strings.TrimPrefix(backend.Endpoint(), "http://"),
			"threshold_ms: 50": "threshold_ms: 10000", // which no job takes
			"service:\n":       "service:\n  telemetry: {metrics: {level: none}}\n",
		}), address)
	}
	collectortest.Run(t, replace(t, firstRow(t), map[string]string{
		"0.0.0.0:4317": first,
		"dns:":         "static:",
		"hostname: samplers.observability.svc.cluster.local": "hostnames: [" + strings.Join(samplers, ", ") + "]",
		"service:\n": "service:\n  telemetry: {metrics: {level: none}}\n",
	}), first)

	bin := build(t, "./cmd/uspan")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "30")
	files := []string{filepath.Join(t.TempDir(), "one.json"), filepath.Join(t.TempDir(), "two.json")}
	jobs := testprog.Build(t, jobsSource, testprog.Options{})
	var both []*exec.Cmd
	for _, file := range files {
		uspan := exec.CommandContext(t.Context(), filepath.Join(bin, "uspan"), "run", "-o", "otlp=http://"+first, "-o", "json="+file,
			"-f", "main.job", "-f", "main.step", "--", jobs)
		uspan.Stderr = &bytes.Buffer{}
		if err := uspan.Start(); err != nil {
			t.Fatal(err)
		}
		both = append(both, uspan)
	}
	for _, uspan := range both {
		if err := uspan.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, uspan.Stderr)
		}
	}
	sent := make(map[string]int) // spans by trace
	failed := make(map[string]bool)
	for _, file := range files {
		for _, span := range readExactly(t, file) {
			sent[span.TraceID]++
			failed[span.TraceID] = failed[span.TraceID] || span.Status == tracepb.Status_STATUS_CODE_ERROR
		}
	}
	if len(sent) != 120 {
		t.Fatalf("%d traces, want one for each of 2 × 60 jobs", len(sent))
	}

	// What is decided on comes in one piece a trace. Those with an error are all kept.
	kept := func() (where map[string]int, of []int, missing int) {
		where, of = make(map[string]int), make([]int, len(backends))
		spans := make(map[string]int)
		for i, backend := range backends {
			for _, span := range backend.Spans() {
				if other, seen := where[span.TraceID]; seen && other != i {
					t.Fatalf("trace %s came through both Collectors", span.TraceID)
				} else if !seen {
					where[span.TraceID] = i
					of[i]++
				}
				spans[span.TraceID]++
			}
		}
		for trace, n := range sent {
			if spans[trace] != n && (failed[trace] || spans[trace] > 0) {
				missing++
			}
		}
		return where, of, missing
	}
	var missing int
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if _, _, missing = kept(); missing == 0 {
			break
		}
	}
	where, of, _ := kept()
	t.Logf("of %d traces, 60 of which failed, %d are kept: %d by one Collector, %d by the other", len(sent), len(where), of[0], of[1])
	if missing > 0 {
		t.Errorf("%d traces are not whole", missing)
	}
	if of[0] < 10 || of[1] < 10 || len(where) > 90 {
		t.Error("they are not balanced, or not sampled")
	}
}

// firstRow is the configuration of the first row in docs/many-machines.md.
func firstRow(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, root+"/docs/many-machines.md"), -1)
	if len(found) != 1 {
		t.Fatalf("docs/many-machines.md has %d pieces of YAML", len(found))
	}
	return found[0][1]
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replace replaces texts, each of which has to be there.
func replace(t *testing.T, text string, by map[string]string) string {
	t.Helper()
	for old, new := range by {
		if !strings.Contains(text, old) {
			t.Fatalf("no %q in\n%s", old, text)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	return text
}
