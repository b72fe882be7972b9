package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// job is what the machine is told to do.
type job struct {
	Kernel string
	Args   []string
	Env    []string
	Dir    string
}

// root is the machine's file system. Everything lies where it lies on this side.
type root struct {
	job   job
	arch  string
	files map[string]string // where in the machine -> where on this side
}

// architecture is Go's name for what an executable runs on.
func architecture(executable string) (string, error) {
	f, err := elf.Open(executable)
	if err != nil {
		return "", err
	}
	defer f.Close()
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("%s is for %v: there are machines for amd64 and arm64", executable, f.Machine)
}

// passedOn are the variables of the environment that mean the same in the machine.
var passedOn = []string{"TEST_ALL", "TEST_MINORS", "GODEBUG", "GOTRACEBACK", "GOGC", "GOMAXPROCS", "HOME", "XDG_CACHE_HOME"}

// newRoot lays the file system for a test in its package's directory, which is
// the working directory, with the programs that it needs.
func newRoot(executable, arch string, programs []string) (*root, error) {
	r := &root{arch: arch, files: make(map[string]string)}
	executable, err := filepath.Abs(executable)
	if err != nil {
		return nil, err
	}
	if r.job.Dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	r.job.Args = []string{executable}
	// Nothing may be skipped unseen, and nothing can be built.
	r.job.Env = []string{"REQUIRE_BPF=1", "PATH=/bin:/usr/bin", "TMPDIR=/tmp", "TESTPROG_PACKED=1"}
	for _, name := range passedOn {
		if value, set := os.LookupEnv(name); set {
			r.job.Env = append(r.job.Env, name+"="+value)
		}
	}
	if err := r.addModule(); err != nil {
		return nil, err
	}
	for _, program := range append([]string{executable}, programs...) {
		r.files[program] = program
		if err := r.addLibraries(program); err != nil {
			return nil, err
		}
	}
	if r.files["/init"], err = buildInit(arch); err != nil {
		return nil, err
	}
	return r, nil
}

// addModule adds the sources, which have the tests' data among them.
func (r *root) addModule() error {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	module := filepath.Dir(strings.TrimSpace(string(out)))
	return filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || path == filepath.Join(module, "bin")):
			return filepath.SkipDir
		case entry.Type().IsRegular():
			r.files[path] = path
		}
		return nil
	})
}

// buildInit builds this program for the machine, where it is the first process.
func buildInit(arch string) (string, error) {
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "init-"+arch)
	locked, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer locked.Close()
	cmd := exec.Command("go", "build", "-o", path, "github.com/uspan/uspan/internal/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the first process of the machine: %w\n%s", err, out)
	}
	return path, nil
}

// pack writes the file system into memory, as the kernel unpacks it.
func (r *root) pack() (*os.File, error) {
	fd, err := unix.MemfdCreate("root", 0)
	if err != nil {
		return nil, fmt.Errorf("memory for the machine's root: %w", err)
	}
	file := os.NewFile(uintptr(fd), "root")
	a := &archive{w: file}
	made := make(map[string]bool)
	var dir func(path string)
	dir = func(path string) {
		if path == "/" || made[path] {
			return
		}
		dir(filepath.Dir(path))
		made[path] = true
		a.dir(path[1:])
	}
	for _, path := range []string{"/bin", "/dev", "/proc", "/sys", "/tmp", "/run", "/usr/bin", "/etc", "/var/tmp"} {
		dir(path)
	}
	a.device("dev/console", 5, 1)
	a.device("dev/null", 1, 3)
	a.data("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"))
	a.data("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	a.data("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n"))
	job, err := json.Marshal(r.job)
	if err != nil {
		return nil, err
	}
	a.data("job.json", 0o644, job)
	paths := make([]string, 0, len(r.files))
	for path := range r.files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		dir(filepath.Dir(path))
		a.file(path[1:], r.files[path])
	}
	if err := a.end(); err != nil {
		file.Close()
		return nil, fmt.Errorf("pack the machine's root: %w", err)
	}
	return file, nil
}
