package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/otlptest"
	"github.com/uspan/uspan/internal/testprog"
)

// Every call is exported or lost, with the cause, where an endpoint answers for a
// while and then blocks: by what the program knows of itself, what the endpoint has
// taken, and what the closing line and the metrics say.
func TestSumsOfBlockedOutput(t *testing.T) {
	counting := testprog.Build(t, "../../instrument/testdata/counting", testprog.Options{})
	kerneltest.Require(t)
	receiver, metrics := otlptest.Start(t), otlptest.StartMetrics(t, false)
	var requests atomic.Int64
	hold := otlptest.Hold(nil)
	receiver.Answer(func(ctx context.Context, spans int) (int64, string, error) {
		if requests.Add(1) == 1 {
			return 0, "", nil
		}
		return hold(ctx, spans)
	})
	functions := []string{"main.recurse", "main.climb", "main.block", "main.short", "main.brief", "main.many"}
	args := []string{"run", "--flush-timeout", "1s", "-o", "otlp=" + receiver.Endpoint()}
	for _, f := range functions {
		args = append(args, "-f", f)
	}
	cmd := exec.Command("uspan", append(args, "--", counting, "-goroutines=100")...)
	cmd.Env = append(os.Environ(), "OTEL_BSP_MAX_QUEUE_SIZE=1000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="+metrics.Endpoint(), "OTEL_METRIC_EXPORT_INTERVAL=50")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var truth map[string]int64
	if err := json.Unmarshal(stdout.Bytes(), &truth); err != nil {
		t.Fatalf("the target printed %q: %v", &stdout, err)
	}
	calls := int64(0)
	for _, f := range functions {
		calls += truth[f]
	}
	closing := regexp.MustCompile(`uspan: (\d+) spans, (\d+) lost \((.*)\), 0 still open\n$`).FindStringSubmatch(stderr.String())
	if closing == nil {
		t.Fatalf("the closing line does not say what was lost: %s", &stderr)
	}
	spans, lost := number(t, closing[1]), number(t, closing[2])
	byCause := make(map[string]int64)
	for _, cause := range strings.Split(closing[3], "; ") {
		n, why, _ := strings.Cut(cause, " ")
		byCause[strings.TrimPrefix(why, "otlp="+receiver.Endpoint()+": ")] += number(t, n)
	}
	full, unsent, kernel := byCause["queue full"], int64(0), int64(0)
	for why, n := range byCause {
		switch {
		case strings.HasPrefix(why, "not sent in time"):
			unsent += n
		case why != "queue full":
			kernel += n
		}
	}
	exported := int64(len(receiver.Spans()))
	last, of := metrics.Last(), "otel.component.name=otlp="+receiver.Endpoint()
	lostByMetrics := int64(0)
	for name, n := range last {
		if strings.HasPrefix(name, "uspan.calls.lost{") {
			lostByMetrics += n
		}
	}
	if last["uspan.spans"] != spans || lostByMetrics != kernel || last["otel.sdk.exporter.span.exported{"+of+"}"] != exported ||
		last["otel.sdk.exporter.span.exported{error.type=queue full,"+of+"}"] != full ||
		last["otel.sdk.exporter.span.exported{error.type=not sent in time,"+of+"}"] != unsent {
		t.Errorf("the metrics do not say what the closing line says (%q): %v", closing[0], last)
	}
	if spans+kernel != calls || exported+full+unsent != spans || full+unsent+kernel != lost || full == 0 || unsent == 0 || exported == 0 {
		t.Errorf("%d calls; %d spans, of which the endpoint has %d; %d lost: %v", calls, spans, exported, lost, byCause)
	}
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
