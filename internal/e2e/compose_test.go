package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/jaegertest"
	"github.com/uspan/uspan/internal/kerneltest"
)

// docker-compose.yml as it is: its spans reach its Jaeger, those of a program
// that starts again do, too, and the program outlives uspan.
func TestCompose(t *testing.T) {
	kerneltest.Require(t)
	engine := startDocker(t)
	buildImages(t, engine)

	const file = root + "/docker-compose.yml"
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containers:\n%s", engine.compose(t, file, "logs", "--no-color", "uspan", "fibonacci"))
		}
		engine.compose(t, file, "down", "-v", "-t", "1")
	})
	engine.compose(t, file, "up", "-d", "--no-build")
	jaeger := jaegertest.Client{URL: "http://127.0.0.1:16686", HTTP: engine.client()}

	spans := awaitSpans(t, jaeger, "fibonacci", hasAllFunctions)
	container := strings.TrimSpace(engine.compose(t, file, "ps", "-q", "fibonacci"))
	for _, span := range spans {
		for key, want := range map[string]any{
			"process.executable.path": "/fibonacci",
			"process.pid":             int64(1),
			"container.id":            container,
		} {
			if got := span.Process[key]; got != want {
				t.Fatalf("%s of a span's resource is %v, want %v", key, got, want)
			}
		}
	}

	engine.compose(t, file, "restart", "-t", "1", "fibonacci")
	restarted := time.Now()
	awaitSpans(t, jaeger, "fibonacci", func(spans []jaegertest.Span) bool {
		return hasAllFunctions(slices.DeleteFunc(spans, func(span jaegertest.Span) bool {
			return span.Start.Before(restarted)
		}))
	})

	engine.compose(t, file, "stop", "uspan")
	if log := engine.compose(t, file, "logs", "--no-color", "uspan"); !strings.Contains(log, " 0 lost") {
		t.Errorf("uspan's closing line does not say that nothing was lost:\n%s", log)
	}
	if running := engine.compose(t, file, "ps", "-q", "--filter", "status=running", "fibonacci"); running == "" {
		t.Error("fibonacci does not run any more")
	}
}

// hasAllFunctions says whether each of the example's functions has a span.
func hasAllFunctions(spans []jaegertest.Span) bool {
	for _, name := range []string{"compute", "fibonacciRecursive", "fibonacciCache", "fibonacciLoop"} {
		if !slices.ContainsFunc(spans, func(s jaegertest.Span) bool { return s.Name == "main."+name }) {
			return false
		}
	}
	return true
}

// buildImages builds the images of docker-compose.yml under the names that it
// has for them, without pulling any: Jaeger's from its module, and ours from the
// last stages of the Dockerfile, with executables that were compiled here.
func buildImages(t *testing.T, engine *docker) {
	t.Helper()
	const firstImage = "FROM scratch AS fibonacci\n"
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, stages, found := strings.Cut(string(dockerfile), firstImage)
	if !found {
		t.Fatalf("the Dockerfile has no %q", firstImage)
	}
	ours := t.TempDir()
	if err := os.Rename(build(t, "./cmd/uspan", "./examples/fibonacci"), filepath.Join(ours, "out")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(ours, "etc/ssl/certs/ca-certificates.crt"), "")
	write(t, filepath.Join(ours, "Dockerfile"), "FROM scratch AS build\nCOPY . /\n"+firstImage+stages)
	engine.docker(t, "build", "-q", "--target", "fibonacci", "-t", "uspan-fibonacci", ours)
	engine.docker(t, "build", "-q", "--target", "uspan", "-t", "uspan", ours)

	jaeger := t.TempDir()
	link(t, jaegertest.Build(t), filepath.Join(jaeger, "jaeger-linux"))
	write(t, filepath.Join(jaeger, "Dockerfile"), `FROM scratch
ENV JAEGER_LISTEN_HOST=0.0.0.0
COPY jaeger-linux /cmd/jaeger/jaeger-linux
ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]
USER 10001
`)
	engine.docker(t, "build", "-q", "-t", "jaegertracing/jaeger:"+jaegertest.Version, jaeger)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
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
