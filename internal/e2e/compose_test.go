package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/collectortest"
	"github.com/uspan/uspan/internal/jaegertest"
	"github.com/uspan/uspan/internal/kerneltest"
)

var composeFile = []string{root + "/docker-compose.yml"}

// The services of docker-compose.yml, each of which needs those before it.
var composed = []string{"jaeger", "stock", "front", "load", "uspan"}

// docker-compose.yml as it is: what there is to see of the shop is in its
// Jaeger; whatever is killed heals, and so does a start in the reverse order. With
// examples/collector on top, its Jaeger has the traces that this keeps.
func TestCompose(t *testing.T) {
	kerneltest.Require(t)
	engine := startDocker(t)
	buildImages(t, engine)
	jaeger := upShop(t, engine, composeFile)

	checkShopIdentity(t, engine, jaeger)
	engine.awaitHealth(t, "healthy", composed...)
	checkHealthChecks(t, engine)

	for _, service := range composed {
		before := time.Now()
		engine.kill(t, service)
		awaitShopAfter(t, jaeger, engine, service, before)
		t.Logf("%s was killed: all is there again after %.1fs", service, time.Since(before).Seconds())
		engine.awaitHealth(t, "healthy", composed...)
	}
	engine.compose(t, composeFile, "stop", "-t", "5")
	before := time.Now()
	for _, service := range slices.Backward(composed) {
		engine.docker(t, "start", engine.container(t, service))
		time.Sleep(500 * time.Millisecond) // for each to miss the next
	}
	awaitShopAfter(t, jaeger, engine, "jaeger", before)
	t.Logf("started in the reverse order: all is there after %.1fs", time.Since(before).Seconds())
	checkShopIdentity(t, engine, jaeger)

	checkNothingLost(t, engine, composeFile)

	withCollector := append(composeFile, root+"/examples/collector/docker-compose.yml")
	engine.compose(t, withCollector, "up", "-d", "--no-build")
	checkSampling(t, engine, jaeger)
	engine.awaitHealth(t, "healthy", append(slices.Clone(composed), "collector")...)
	before = time.Now()
	engine.kill(t, "collector")
	awaitShopAfter(t, jaeger, engine, "collector", before)
	engine.awaitHealth(t, "healthy", "collector", "uspan")
	checkNothingLost(t, engine, withCollector)
}

// checkHealthChecks checks that those who need somebody that is away say so.
func checkHealthChecks(t *testing.T, engine *docker) {
	t.Helper()
	for away, sufferer := range map[string]string{"jaeger": "uspan", "front": "load"} {
		engine.compose(t, composeFile, "stop", "-t", "5", away)
		engine.awaitHealth(t, "unhealthy", sufferer)
		engine.compose(t, composeFile, "start", away)
		engine.awaitHealth(t, "healthy", away, sufferer)
	}
}

// checkSampling checks what is left of the shop's traces behind examples/collector:
// those with an error, all of each, and few of the others, of which the shop makes
// four when it makes five with an error.
func checkSampling(t *testing.T, engine *docker, jaeger jaegertest.Client) {
	t.Helper()
	begun := engine.awaitRunning(t, "uspan", time.Time{})
	const enough = 20
	var failed, others int
	awaitShop(t, jaeger, func(span jaegertest.Span) bool { return span.Start.After(begun) })
	for deadline := time.Now().Add(time.Minute); failed < enough && time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		spans, err := jaeger.Spans(shopFront)
		if err != nil {
			t.Fatal(err)
		}
		spans = slices.DeleteFunc(spans, func(span jaegertest.Span) bool { return span.Start.Before(begun) })
		failed, others = countRequests(spans)
	}
	t.Logf("of %d requests with an error and %d others there is a trace", failed, others)
	if failed < enough || others > failed/2 {
		t.Errorf("of %d requests with an error and %d others there is a trace", failed, others)
	}
}

// countRequests counts requests, by whether there is an error in their traces. Those
// without that took long are kept, and not counted.
func countRequests(spans []jaegertest.Span) (failed, others int) {
	const slow = 50 * time.Millisecond // see examples/collector/collector.yaml
	withError := make(map[string]bool)
	for _, span := range spans {
		if span.Tags["otel.status_code"] == "ERROR" {
			withError[span.TraceID] = true
		}
	}
	for _, span := range spans {
		switch {
		case span.Name != "main.(*shop).ServeHTTP":
		case withError[span.TraceID]:
			failed++
		case span.Duration < slow:
			others++
		}
	}
	return failed, others
}

// firstTraces is how long it may take from docker-compose up to traces of both
// services.
const firstTraces = 15 * time.Second

// busy says that more wants to run on this machine than it has processors, twice.
func busy(t *testing.T) bool {
	t.Helper()
	var load float64
	if _, err := fmt.Sscan(read(t, "/proc/loadavg"), &load); err != nil {
		t.Fatal(err)
	}
	return load > 2*float64(runtime.NumCPU())
}

// upShop starts the services of compose files and returns their Jaeger, when it
// has what there is to see of the shop.
func upShop(t *testing.T, engine *docker, file []string) jaegertest.Client {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containers:\n%s\n%s", engine.compose(t, file, "ps", "-a"), engine.compose(t, file, "logs", "--no-color", "--tail=50", "stock", "front", "load", "uspan"))
		}
		engine.compose(t, file, "down", "-v", "--remove-orphans", "-t", "1")
	})
	busy := busy(t)
	before := time.Now()
	engine.compose(t, file, "up", "-d", "--no-build")
	jaeger := jaegertest.Client{URL: "http://127.0.0.1:16686", HTTP: engine.client()}
	for _, service := range []string{shopFront, shopStock} {
		awaitSpans(t, jaeger, service, func(spans []jaegertest.Span) bool { return len(spans) > 0 })
		t.Logf("up, and there are spans of %s, after %.1fs", service, time.Since(before).Seconds())
	}
	switch took := time.Since(before); {
	case took < firstTraces:
	case busy:
		t.Logf("that is more than %v, on a machine that has other things to do", firstTraces)
	default:
		t.Errorf("there are traces after %.1fs, not within %v", took.Seconds(), firstTraces)
	}
	awaitShop(t, jaeger, func(jaegertest.Span) bool { return true })
	t.Logf("up, and all there is to see is there, after %.1fs", time.Since(before).Seconds())
	return jaeger
}

// awaitShopAfter waits until Jaeger has all there is to see of the shop in spans
// that began after a service did, which was started anew after some time.
func awaitShopAfter(t *testing.T, jaeger jaegertest.Client, engine *docker, service string, after time.Time) {
	t.Helper()
	begun := engine.awaitRunning(t, service, after)
	awaitShop(t, jaeger, func(span jaegertest.Span) bool { return span.Start.After(begun) })
}

// checkShopIdentity checks that each span says which container it is of.
func checkShopIdentity(t *testing.T, engine *docker, jaeger jaegertest.Client) {
	t.Helper()
	for service, name := range map[string]string{"front": shopFront, "stock": shopStock} {
		id := engine.container(t, service)
		begun := engine.awaitRunning(t, service, time.Time{})
		spans, err := jaeger.Spans(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, span := range spans {
			if span.Start.Before(begun) {
				continue
			}
			n++
			for key, want := range map[string]any{
				"process.executable.path": "/" + service,
				"process.pid":             int64(1),
				"container.id":            id,
				"host.name":               id[:12],
			} {
				if got := span.Process[key]; got != want {
					t.Fatalf("%s of a span of %s, %s, is %v, want %v", key, name, span.Name, got, want)
				}
			}
		}
		if n == 0 {
			t.Errorf("no spans of %s since it runs", name)
		}
	}
}

// checkNothingLost ends uspan, which says in its closing lines what it lost.
func checkNothingLost(t *testing.T, engine *docker, file []string) {
	t.Helper()
	engine.compose(t, file, "stop", "-t", "10", "uspan")
	log := engine.compose(t, file, "logs", "--no-color", "uspan")
	closing := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, " spans, ") {
			closing++
			if !strings.Contains(line, " 0 lost") {
				t.Error(line)
			}
		}
	}
	if closing == 0 {
		t.Errorf("uspan has no closing line:\n%s", log)
	}
	for _, service := range []string{"front", "stock"} {
		if state := engine.docker(t, "inspect", "-f", "{{.State.Status}}", engine.container(t, service)); strings.TrimSpace(state) != "running" {
			t.Errorf("%s is %s without uspan", service, state)
		}
	}
}

// container is the id of a service's container.
func (d *docker) container(t *testing.T, service string) string {
	t.Helper()
	return strings.TrimSpace(d.docker(t, "ps", "-aq", "--no-trunc", "--filter", "label=com.docker.compose.service="+service))
}

// awaitRunning returns since when a service runs, as soon as that is after some time.
func (d *docker) awaitRunning(t *testing.T, service string, after time.Time) (begun time.Time) {
	t.Helper()
	d.await(t, service, "{{.State.Running}} {{.State.StartedAt}}", func(state string) bool {
		since, runs := strings.CutPrefix(state, "true ")
		if !runs {
			return false
		}
		var err error
		if begun, err = time.Parse(time.RFC3339Nano, since); err != nil {
			t.Fatal(err)
		}
		return begun.After(after)
	})
	return begun
}

// awaitHealth waits until the health checks of services say what they should.
func (d *docker) awaitHealth(t *testing.T, want string, services ...string) {
	t.Helper()
	for _, service := range services {
		d.await(t, service, "{{.State.Health.Status}}", func(state string) bool { return state == want })
	}
}

// kill kills the process of a service.
func (d *docker) kill(t *testing.T, service string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(d.docker(t, "inspect", "-f", "{{.State.Pid}}", d.container(t, service))))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", service, err)
	}
}

// await asks for the state of a service's container until it is what is wanted.
func (d *docker) await(t *testing.T, service, format string, wanted func(string) bool) string {
	t.Helper()
	id := d.container(t, service)
	var state string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if state = strings.TrimSpace(d.docker(t, "inspect", "-f", format, id)); wanted(state) {
			return state
		}
	}
	t.Fatalf("%s is %s", service, state)
	return ""
}

// buildImages builds the images of docker-compose.yml under the names that it
// has for them, without pulling any: Jaeger's and the Collector's from their
// modules, and ours from the last stages of the Dockerfile, with executables that were compiled here.
func buildImages(t *testing.T, engine *docker) {
	t.Helper()
	const firstImage = "FROM scratch AS front\n"
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, stages, found := strings.Cut(string(dockerfile), firstImage)
	if !found {
		t.Fatalf("the Dockerfile has no %q", firstImage)
	}
	ours, shop, uspan := t.TempDir(), buildShop(t), build(t, "./cmd/uspan")
	for _, executable := range []string{shop + "/front", shop + "/stock", shop + "/load", uspan + "/uspan"} {
		mkdir(t, filepath.Join(ours, "out"))
		link(t, executable, filepath.Join(ours, "out", filepath.Base(executable)))
	}
	write(t, filepath.Join(ours, "etc/ssl/certs/ca-certificates.crt"), "")
	write(t, filepath.Join(ours, "Dockerfile"), "FROM scratch AS build\nCOPY . /\n"+firstImage+stages)
	for _, service := range []string{"front", "stock", "load"} {
		engine.docker(t, "build", "-q", "--target", service, "-t", "uspan-shop-"+service, ours)
	}
	engine.docker(t, "build", "-q", "--target", "uspan", "-t", "uspan", "--build-arg", "VERSION=v1.2.3", ours)
	checkImage(t, engine, "uspan")

	jaeger := t.TempDir()
	link(t, jaegertest.Build(t), filepath.Join(jaeger, "jaeger-linux"))
	link(t, "/bin/busybox", filepath.Join(jaeger, "wget")) // which Jaeger's own image, an Alpine, has, too
	write(t, filepath.Join(jaeger, "Dockerfile"), `FROM scratch
ENV JAEGER_LISTEN_HOST=0.0.0.0
COPY wget /usr/bin/wget
COPY jaeger-linux /cmd/jaeger/jaeger-linux
ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]
USER 10001
`)
	engine.docker(t, "build", "-q", "-t", "jaegertracing/jaeger:"+jaegertest.Version, jaeger)

	collector := t.TempDir()
	link(t, collectortest.Build(t), filepath.Join(collector, "otelcol-contrib"))
	write(t, filepath.Join(collector, "Dockerfile"), `FROM scratch
COPY otelcol-contrib /otelcol-contrib
ENTRYPOINT ["/otelcol-contrib"]
CMD ["--config", "/etc/otelcol-contrib/config.yaml"]
USER 10001
`)
	engine.docker(t, "build", "-q", "-t", "otel/opentelemetry-collector-contrib:"+collectortest.Version, collector)
	engine.buildScratch(t, "busybox:1.37-musl", map[string]string{"bin/busybox": "/bin/busybox"})
	engine.docker(t, "build", "-q", "-t", "uspan-collector", root+"/examples/collector")
}

// checkImage checks what is said of an image of uspan.
func checkImage(t *testing.T, engine *docker, image string) {
	t.Helper()
	const format = `{{.Size}} {{index .Config.Labels "org.opencontainers.image.version"}} {{index .Config.Labels "org.opencontainers.image.licenses"}}`
	fields := strings.Fields(engine.docker(t, "image", "inspect", "-f", format, image))
	if len(fields) != 3 || fields[1] != "v1.2.3" || fields[2] != "Apache-2.0" {
		t.Fatalf("the image's size and labels are %q", fields)
	}
	if size, err := strconv.Atoi(fields[0]); err != nil || size > 40e6 {
		t.Errorf("the image has %s bytes, not below 40 MB (%v)", fields[0], err)
	} else {
		t.Logf("the image %s has %.1f MB", image, float64(size)/1e6)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// link makes a file of a build context, which cannot be a symbolic link.
func link(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}
