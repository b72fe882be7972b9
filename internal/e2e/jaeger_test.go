package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/jaegertest"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// The spans that Jaeger has are those that uspan made: the same ids, trees,
// times, attributes. And they are the calls that the program made, by its own
// account.
func TestJaeger(t *testing.T) {
	kerneltest.Require(t)
	jaeger := jaegertest.Start(t)
	bin := build(t, "./cmd/uspan", "./examples/fibonacci")
	file := filepath.Join(t.TempDir(), "spans.json")

	stdout := run(t, filepath.Join(bin, "uspan"), "run",
		"-o", "otlp="+jaeger.OTLPEndpoint, "-o", "json="+file, "-f", "main.*", "-f", "!main.main",
		"--", filepath.Join(bin, "fibonacci"), "-n", "9")

	want := readSpans(t, file)
	for _, s := range want {
		delete(s.Process, "service.name") // Jaeger has it in a field of its own
	}
	got := awaitSpans(t, jaeger.Client, "fibonacci", func(spans []jaegertest.Span) bool {
		return len(spans) >= len(want)
	})
	sortByID(want)
	sortByID(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("Jaeger's spans differ from the file's (-file +Jaeger):\n%s", diff)
	}
	checkFibonacci(t, got, string(stdout))
}

// Units of work are linked to the calls that they come from in Jaeger, too: those of
// loops that wait for work, of --root, and where a trace has become too long.
func TestJaegerLinks(t *testing.T) {
	source, err := os.ReadFile(root + "/instrument/testdata/work/main.go")
	if err != nil {
		t.Fatal(err)
	}
	exe := testprog.Build(t, "-- go.mod --\nmodule example.com/work\n\ngo 1.18\n-- main.go --\n"+string(source), testprog.Options{})
	kerneltest.Require(t)
	jaeger := jaegertest.Start(t)
	bin := build(t, "./cmd/uspan")
	file := filepath.Join(t.TempDir(), "spans.json")
	t.Setenv("OTEL_SERVICE_NAME", "work")

	run(t, filepath.Join(bin, "uspan"), "run", "-o", "otlp="+jaeger.OTLPEndpoint, "-o", "json="+file,
		"-f", "main.*", "-f", "!main.helper", "--root", "main.merge", "--max-trace-spans", "100", "--", exe)

	want := readSpans(t, file)
	got := awaitSpans(t, jaeger.Client, "work", func(spans []jaegertest.Span) bool { return len(spans) >= len(want) })
	spans, told := index(got), index(want)
	linked := make(map[string]int)
	for _, span := range got {
		if diff := gocmp.Diff(told[span.ID].Links, span.Links); diff != "" {
			t.Errorf("links of %s, %s, in Jaeger (-file +Jaeger):\n%s", span.ID, span.Name, diff)
		}
		for _, link := range span.Links {
			from, found := spans[link.ID]
			if !found || from.TraceID != link.TraceID || span.TraceID == link.TraceID || span.Parent != "" {
				t.Errorf("%s, %s, with the parent %q is linked to %+v in trace %s", span.ID, span.Name, span.Parent, from, link.TraceID)
			}
			linked[span.Name+" ⇠ "+from.Name]++
		}
	}
	// What long calls beyond the bound of its trace is some 900 of 1,000.
	if n := linked["main.step ⇠ main.long"]; n < 850 || n > 950 {
		t.Errorf("%d of the steps of main.long are linked to it", n)
	}
	for name, n := range map[string]int{
		"main.job ⇠ main.selector": 20, "main.note ⇠ main.serve": 10, "main.handle ⇠ main.serve": 10, "main.merge ⇠ main.batch": 10,
	} {
		if linked[name] != n {
			t.Errorf("%d times %s, want %d: %v", linked[name], name, n, linked)
		}
	}
}

// awaitSpans asks Jaeger until it has what is wanted: it says nothing by itself.
func awaitSpans(t *testing.T, client jaegertest.Client, service string, enough func([]jaegertest.Span) bool) []jaegertest.Span {
	t.Helper()
	const patience = time.Minute
	var spans []jaegertest.Span
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if spans, err = client.Spans(service); err == nil && enough(spans) {
			return spans
		}
	}
	t.Fatalf("Jaeger has %d spans of %s after %v, not what was awaited (last answer: %v)", len(spans), service, patience, err)
	return nil
}

func sortByID(spans []jaegertest.Span) {
	slices.SortFunc(spans, func(a, b jaegertest.Span) int { return cmp.Compare(a.ID, b.ID) })
}

// Lines of fibonacci's output: "cache: fibonacci(5) = 5", and
// "loop: fibonacci(93) does not fit into an int".
var fibonacciLine = regexp.MustCompile(`(?m)^(recursive|cache|loop): fibonacci\((\d+)\) (=|does not fit)`)

// checkFibonacci compares spans of examples/fibonacci with what it printed.
func checkFibonacci(t *testing.T, spans []jaegertest.Span, stdout string) {
	t.Helper()
	want := map[string]int{}
	for _, line := range fibonacciLine.FindAllStringSubmatch(stdout, -1) {
		method := line[1]
		n, err := strconv.Atoi(line[2])
		if err != nil {
			t.Fatal(err)
		}
		want["main.compute"]++
		switch {
		case line[3] != "=":
			want["errors"]++
		case method == "recursive":
			want["main.fibonacciRecursive"] += recursiveCalls(n)
		case method == "cache":
			want["main.fibonacciCache"] += max(1, 2*n-1)
		default:
			want["main.fibonacciLoop"]++
		}
	}

	got := map[string]int{}
	byID := map[string]jaegertest.Span{}
	for _, span := range spans {
		got[span.Name]++
		byID[span.ID] = span
		if span.Tags["otel.status_code"] == "ERROR" {
			got["errors"]++
		}
	}
	if !maps.Equal(want, got) {
		t.Errorf("calls by the program's own account: %v, spans: %v", want, got)
	}
	for _, span := range spans {
		if err := checkParent(span, byID); err != nil {
			t.Errorf("span %s, %s: %v", span.ID, span.Name, err)
		}
	}
}

// checkParent checks who called whom, and with what.
func checkParent(span jaegertest.Span, byID map[string]jaegertest.Span) error {
	parent, found := byID[span.Parent]
	if span.Name == "main.compute" {
		if span.Parent != "" {
			return fmt.Errorf("is no root but a child of %s", span.Parent)
		}
		return nil
	}
	if !found {
		return fmt.Errorf("parent %q is not there", span.Parent)
	}
	if parent.TraceID != span.TraceID {
		return fmt.Errorf("its parent is in another trace")
	}
	if span.Start.Before(parent.Start) || span.Duration > parent.Duration {
		return fmt.Errorf("does not lie within its parent")
	}
	n, _ := span.Tags["uspan.arg.n"].(int64)
	parentN, _ := parent.Tags["uspan.arg.n"].(int64)
	switch {
	case parent.Name == "main.compute" && n == parentN:
	case span.Name == parent.Name && (n == parentN-1 || n == parentN-2):
	default:
		return fmt.Errorf("%s(n=%d) is a child of %s(n=%d)", span.Name, n, parent.Name, parentN)
	}
	return nil
}

func recursiveCalls(n int) int {
	if n < 2 {
		return 1
	}
	return 1 + recursiveCalls(n-1) + recursiveCalls(n-2)
}
