package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// kernels are Debian's, built for virtual machines: what a test needs is in the
// image itself. Each is the newest of its suite at the moment it is fetched.
var kernels = []struct{ name, suite string }{
	{"5.10", "bullseye"}, // below what uspan runs on
	{"6.1", "bookworm"},
	{"6.12", "trixie"},
	{"7", "trixie-backports"},
}

func kernelNames() (names []string) {
	for _, k := range kernels {
		names = append(names, k.name)
	}
	return names
}

// startsSteady says whether a kernel starts where a machine's time goes by what it has
// executed. Older ones for amd64 wait for their second processor for ever.
func startsSteady(name, arch string) bool {
	return arch != "amd64" || name != "5.10" && name != "6.1"
}

// fetchKernel returns the path of a kernel's image, which is fetched once and
// kept in the user's cache directory. Nothing is installed.
func fetchKernel(name, arch string) (string, error) {
	i := slices.Index(kernelNames(), name)
	if i < 0 {
		return "", fmt.Errorf("no kernel %q: there are %s", name, strings.Join(kernelNames(), ", "))
	}
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "linux-"+name+"-"+arch)
	locked, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer locked.Close()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	temporary, err := os.MkdirTemp(dir, "fetch-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	apt := apt{dir: temporary, arch: arch}
	image, err := apt.image(kernels[i].suite)
	if err != nil {
		return "", fmt.Errorf("fetch Linux %s for %s: %w", name, arch, err)
	}
	return path, os.Rename(image, path)
}

// cacheDir is where kernels are kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "uspan-guest")
	return dir, os.MkdirAll(dir, 0o755)
}

// lock waits for others that make the same file; closing the result unlocks it.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// apt is Debian's package manager with a configuration of its own, which knows
// one suite and one architecture and nothing of what is installed.
type apt struct{ dir, arch string }

// image fetches a suite's kernel for virtual machines and returns its image.
func (a apt) image(suite string) (string, error) {
	mirror, err := a.mirror()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "root"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return "", err
		}
	}
	source := "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + mirror + " " + suite + " main\n"
	if err := errors.Join(
		os.WriteFile(filepath.Join(a.dir, "sources.list"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644)); err != nil {
		return "", err
	}
	if _, err := a.run("apt-get", "update"); err != nil {
		return "", err
	}
	// The name without a version depends on the one with it, and from Linux 6.16
	// on that one on the package that has the image.
	next := "linux-image-cloud-" + a.arch
	for range 3 {
		out, err := a.run("apt-cache", "depends", "--important", next)
		if err != nil {
			return "", err
		}
		next = ""
		for line := range strings.Lines(string(out)) {
			name, depends := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
			if depends && (strings.HasPrefix(name, "linux-image-") || strings.HasPrefix(name, "linux-binary-")) {
				next = name
			}
		}
		if next == "" {
			break
		}
		if image, err := a.unpack(next); image != "" || err != nil {
			return image, err
		}
	}
	return "", errors.New("no package has the kernel's image")
}

// mirror is where this machine has Debian from.
func (a apt) mirror() (string, error) {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt where this machine has Debian from: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if site := strings.TrimRight(strings.TrimSpace(line), "/"); strings.HasSuffix(site, "/debian") {
			return site, nil
		}
	}
	return "", errors.New("apt knows no mirror of Debian (/etc/apt/sources.list)")
}

// unpack fetches a package and returns its kernel image; none: "".
func (a apt) unpack(name string) (string, error) {
	if _, err := a.run("apt-get", "download", name+":"+a.arch); err != nil {
		return "", err
	}
	packages, _ := filepath.Glob(filepath.Join(a.dir, name+"_*.deb"))
	if len(packages) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages", name, len(packages))
	}
	root := filepath.Join(a.dir, "root")
	if _, err := a.run("sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards '*/vmlinuz*' || true`,
		"sh", packages[0], root); err != nil {
		return "", err
	}
	for _, place := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		if images, _ := filepath.Glob(filepath.Join(root, place)); len(images) > 0 {
			return images[0], nil
		}
	}
	return "", nil
}

func (a apt) run(name string, args ...string) ([]byte, error) {
	if strings.HasPrefix(name, "apt") {
		args = append([]string{
			"-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures=" + a.arch,
			"-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "-o", "Acquire::Languages=none",
			"-o", "Dir::State=" + filepath.Join(a.dir, "state"), "-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
			"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
			"-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"), "-o", "Dir::Etc::sourceparts=-",
		}, args...)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = a.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, stderr.Bytes())
	}
	return out, nil
}
