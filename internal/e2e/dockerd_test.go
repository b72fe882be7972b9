package e2e

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/kerneltest"
)

// The Docker daemon itself, as Debian builds it (position-independent, linked by
// a C linker, stripped), comes up, answers and goes down under uspan as it does
// alone, with more than 500 of its functions traced.
func TestDockerd(t *testing.T) {
	kerneltest.Require(t)
	alone := startDocker(t)
	want := describe(t, alone)
	alone.stop()

	spansFile := filepath.Join(t.TempDir(), "spans.json")
	traced := startDockerUnder(t, []string{filepath.Join(build(t, "./cmd/uspan"), "uspan"), "run",
		"-f", "github.com/docker/docker/daemon.*", "-o", "json=" + spansFile, "--"})
	const questions = 3
	for range questions {
		if diff := cmp.Diff(want, describe(t, traced)); diff != "" {
			t.Errorf("what it says of itself (-alone +traced):\n%s", diff)
		}
	}
	traced.stop()
	if got, want := traced.daemon.ProcessState, alone.daemon.ProcessState; got.ExitCode() != want.ExitCode() {
		t.Errorf("it ended with %v, alone with %v", got, want)
	}

	log := traced.log.String()
	number := func(pattern string) int {
		match := regexp.MustCompile(pattern).FindStringSubmatch(log)
		if match == nil {
			t.Fatalf("no %s in\n%s", pattern, log)
		}
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := number(`uspan: tracing (\d+) functions of dockerd`); n < 500 {
		t.Errorf("%d functions are traced", n)
	}
	if n := number(`uspan: \d+ spans, (\d+) lost`); n != 0 {
		t.Errorf("%d spans are lost", n)
	}
	counts := make(map[string]int)
	spans := readSpans(t, spansFile)
	for _, span := range spans {
		counts[span.Name]++
	}
	// What it does once in its life, and what once for itself and once for each
	// question.
	for name, want := range map[string]int{
		"daemon.NewDaemon":            1,
		"daemon.(*Daemon).Shutdown":   1,
		"daemon.(*Daemon).SystemInfo": 1 + questions,
	} {
		if counts[name] != want {
			t.Errorf("%d spans of %s, want %d", counts[name], name, want)
		}
	}
	t.Logf("%d spans of %d functions", len(spans), len(counts))
}

// describe is what `docker info` tells of a daemon, but for what no two have in
// common.
func describe(t *testing.T, d *docker) map[string]any {
	t.Helper()
	var info map[string]any
	if err := json.Unmarshal([]byte(d.docker(t, "info", "--format", "{{json .}}")), &info); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(info, func(key string, _ any) bool {
		switch key {
		case "ID", "SystemTime", "NFd", "NGoroutines", "DockerRootDir", "NEventsListener", "ClientInfo", "MemTotal":
			return true
		}
		return false
	})
	return info
}
