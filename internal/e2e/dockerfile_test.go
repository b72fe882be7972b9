package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
)

// The Dockerfile builds for the architectures that it is asked for; with TEST_ALL=1
// it compiles everything, without a cache, which takes minutes.
func TestDockerfile(t *testing.T) {
	t.Run("architectures", testArchitectures)
	if os.Getenv("TEST_ALL") == "1" {
		t.Run("compiled", testCompiled)
	}
}

// The Dockerfile as it is, from its first line on, on an image that stands for
// golang:1.26: this machine's Go, a shell, certificates and the modules.
func testCompiled(t *testing.T) {
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
	checkVersion(t, engine, "uspan", "v1.2.3")
	engine.docker(t, "build", "-q", "--target", "uspan", "-t", "uspan", "--build-arg", "REVISION=0123456789abcdef", root)
	checkVersion(t, engine, "uspan", "devel+0123456789ab")
}

// checkVersion checks what the uspan of an image says that it is.
func checkVersion(t *testing.T, engine *docker, image, version string) {
	t.Helper()
	if out := engine.docker(t, "run", "--rm", "--network=none", image, "--version"); out != "uspan "+version+"\n" {
		t.Errorf("the image's uspan says %q, not that it is %s", out, version)
	}
}

// compileAsInImage compiles uspan as the Dockerfile does with some build arguments,
// and returns the arguments that the compiler gets there.
func compileAsInImage(t *testing.T, to, arch string, buildArgs ...string) (args []string) {
	t.Helper()
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^RUN go (build .* \./cmd/uspan)$`).FindSubmatch(dockerfile)
	if line == nil {
		t.Fatal("the Dockerfile does not compile uspan")
	}
	shell := exec.Command("sh", "-c", `printf '%s\n' `+string(line[1]))
	shell.Env = buildArgs
	out, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	args = strings.Split(strings.TrimSpace(string(out)), "\n")
	here := slices.Clone(args)
	here[slices.Index(here, "/out/")] = to
	cmd := exec.Command("go", here...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v for %s: %v\n%s", here, arch, err, out)
	}
	return args
}

// The Dockerfile compiles for the architecture that it is asked for, on that of the
// machine: TARGETARCH, which BuildKit sets by itself, tells the compiler. The one
// here has compiled before, for both, as the Dockerfile asks for a version. Docker without BuildKit makes no image that is
// labelled for another architecture out of stages of its own.
func testArchitectures(t *testing.T) {
	kerneltest.RequireRoot(t)
	engine := startDocker(t)
	image := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		compiled := filepath.Join(image, "compiled", arch) + "/"
		mkdir(t, compiled)
		args := compileAsInImage(t, compiled, arch, "VERSION=v1.2.3", "REVISION=0123456789abcdef")
		write(t, filepath.Join(image, "compiled/arguments"), strings.Join(args, "\n")+"\n")
	}
	mkdir(t, filepath.Join(image, "bin"))
	link(t, "/bin/busybox", filepath.Join(image, "bin/busybox"))
	write(t, filepath.Join(image, "etc/ssl/certs/ca-certificates.crt"), "")
	write(t, filepath.Join(image, "bin/go"), `#!/bin/busybox sh
if [ "$1" = build ]; then
	/bin/busybox mkdir -p /out
	case "$*" in
	*./cmd/uspan)
		printf '%s\n' "$@" | /bin/busybox cmp - /compiled/arguments && /bin/busybox cp "/compiled/$GOARCH/uspan" /out/ ;;
	*) : >/out/front >/out/stock >/out/load ;; # which the builder without BuildKit makes, too
	esac
fi
`)
	write(t, filepath.Join(image, "Dockerfile"), `FROM scratch
COPY . /
RUN ["/bin/busybox", "chmod", "755", "/bin/go"]
RUN ["/bin/busybox", "ln", "/bin/busybox", "/bin/sh"]
`)
	engine.docker(t, "build", "-q", "-t", "golang:1.26", image)

	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		tag := "uspan-" + arch
		engine.docker(t, "build", "-q", "--build-arg", "TARGETARCH="+arch,
			"--target", "uspan", "-t", tag, "--build-arg", "VERSION=v1.2.3", "--build-arg", "REVISION=0123456789abcdef", root)
		checkImage(t, engine, tag)
		if arch == runtime.GOARCH {
			checkVersion(t, engine, tag, "v1.2.3")
		}
		copied := filepath.Join(t.TempDir(), "uspan")
		engine.docker(t, "cp", strings.TrimSpace(engine.docker(t, "create", tag))+":/uspan", copied)
		file, err := elf.Open(copied)
		if err != nil {
			t.Fatal(err)
		}
		if file.Machine != machine || file.Section(".interp") != nil {
			t.Errorf("the executable in the image for %s is of %v, or not static", arch, file.Machine)
		}
		file.Close()
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
