package testprog

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// CopyGo puts a copy of the go command into a directory: a file of its own, so
// that probes in it are in nobody else's go command. It knows where its GOROOT is.
func CopyGo(dir string) (path string, err error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	root := strings.TrimSpace(string(out))
	data, err := os.ReadFile(filepath.Join(root, "bin", "go"))
	if err != nil {
		return "", err
	}
	// It finds its GOROOT by its own path: a folder whose entries lead there.
	copied := filepath.Join(dir, "goroot")
	entries, err := os.ReadDir(root)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(copied, "bin"), 0o755); err != nil {
		return "", err
	}
	for _, entry := range entries {
		if entry.Name() == "bin" {
			continue
		}
		if err := os.Symlink(filepath.Join(root, entry.Name()), filepath.Join(copied, entry.Name())); err != nil {
			return "", err
		}
	}
	path = filepath.Join(copied, "bin", "go")
	return path, os.WriteFile(path, data, 0o755)
}

// rclone is an executable of 110 MB with DWARF, which a plain `go install` makes.
const rclone = "github.com/rclone/rclone@v1.74.4"

// RclonePattern matches some 12,000 of its 70,000 functions.
const RclonePattern = "github.com/rclone/*"

// BuildRclone returns the path of rclone, which is kept in the user's cache
// directory. The first call takes minutes.
func BuildRclone() (path string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "uspan-test", strings.ReplaceAll(filepath.Base(rclone), "@", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "rclone")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	install := exec.Command("go", "install", rclone)
	install.Dir = dir
	install.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH=amd64", "GOBIN="+dir)
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w\n%s", rclone, err, out)
	}
	return path, nil
}
