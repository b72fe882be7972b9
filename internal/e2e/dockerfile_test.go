package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
)

// The Dockerfile as it is, from its first line on, on an image that stands for
// golang:1.26: this machine's Go, a shell, certificates and the modules.
func TestDockerfile(t *testing.T) {
	if os.Getenv("TEST_ALL") != "1" {
		t.Skip("compiles everything without a cache, which takes minutes: only with TEST_ALL=1")
	}
	kerneltest.RequireRoot(t)
	engine := startDocker(t)
	image := t.TempDir()
	for _, dir := range []string{"usr/local", "bin", "etc/ssl/certs", "root", "tmp"} {
		mkdir(t, filepath.Join(image, dir))
	}
	goroot := strings.TrimSpace(string(run(t, "go", "env", "GOROOT")))
	run(t, "cp", "-a", goroot, filepath.Join(image, "usr/local/go"))
	link(t, "/bin/busybox", filepath.Join(image, "bin/sh"))
	link(t, "/etc/ssl/certs/ca-certificates.crt", filepath.Join(image, "etc/ssl/certs/ca-certificates.crt"))
	downloadModules(t, filepath.Join(image, "modules"), root, root+"/examples/shop")
	write(t, filepath.Join(image, "Dockerfile"), `FROM scratch
ENV PATH=/usr/local/go/bin:/bin HOME=/root GOTOOLCHAIN=local GOPROXY=file:///modules/cache/download GOSUMDB=off
COPY . /
`)
	engine.docker(t, "build", "-q", "-t", "golang:1.26", image)

	for _, target := range []string{"front", "stock", "load"} {
		engine.docker(t, "build", "-q", "--target", target, "-t", target, root)
	}
	engine.docker(t, "build", "-q", "--target", "uspan", "-t", "uspan", "--build-arg", "VERSION=v1.2.3", root)
	checkImage(t, engine, "uspan")
	if out := engine.docker(t, "run", "--rm", "--network=none", "uspan", "--version"); !strings.HasPrefix(out, "uspan ") {
		t.Errorf("the image's uspan says %q", out)
	}
}

// downloadModules fills a module cache with what the modules in some folders
// need, from that of this machine as far as it goes.
func downloadModules(t *testing.T, cache string, modules ...string) {
	t.Helper()
	env := func(name string) string { return strings.TrimSpace(string(run(t, "go", "env", name))) }
	for _, module := range modules {
		cmd := exec.Command("go", "mod", "download")
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "GOMODCACHE="+cache, "GOFLAGS=-modcacherw",
			"GOPROXY=file://"+env("GOMODCACHE")+"/cache/download,"+env("GOPROXY"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("download the modules of %s: %v\n%s", module, err, out)
		}
	}
}
