package target

import (
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MemoryLeft is MemoryLeft of the process.
func (p *Process) MemoryLeft() (bytes uint64, limited bool) { return MemoryLeft(p.pid) }

// MemoryLeft is how many bytes a process's cgroup, and those that it lies in,
// may still be charged until a limit is reached: the least over all of them.
// Limited is false where there is no limit, or none that uspan can see: the
// cgroup must lie below a mount of uspan's own or, for a container beside
// uspan's, of the process's own.
//
// Limits are memory.max and memory.high of version 2 and memory.limit_in_bytes of
// version 1. Inactive file pages are not counted as used, as the kernel drops
// them first.
func MemoryLeft(pid int) (bytes uint64, limited bool) {
	text, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return 0, false
	}
	cgroups := parseCgroups(string(text))
	for _, view := range []struct{ mounts, root string }{
		{"/proc/self/mountinfo", ""},
		{procPath(pid, "mountinfo"), procPath(pid, "root")},
	} {
		mounts, err := os.ReadFile(view.mounts)
		if err != nil {
			continue
		}
		left, limited := memoryLeft(cgroups, parseMounts(string(mounts)), func(path string) ([]byte, error) {
			return readCgroupFile(view.root + path)
		})
		if limited {
			return left, true
		}
	}
	return 0, false
}

// readCgroupFile reads a file of a cgroup file system, and no other: below the
// root of another process there may be anything, also what never ends.
func readCgroupFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return nil, err
	}
	if fs.Type != unix.CGROUP_SUPER_MAGIC && fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%s is not a file of a cgroup", path)
	}
	text := make([]byte, 64<<10)
	n, err := unix.Read(fd, text)
	return text[:max(n, 0)], err
}

// A memoryVersion is how one version of cgroups calls its files
// (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
type memoryVersion struct {
	limits   []string
	usage    string
	inactive string // the key in memory.stat
}

func memoryLeft(cgroups []cgroup, mounts []mount, read func(string) ([]byte, error)) (uint64, bool) {
	v1 := memoryVersion{[]string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file"}
	v2 := memoryVersion{[]string{"memory.max", "memory.high"}, "memory.current", "inactive_file"}

	left := uint64(math.MaxUint64)
	for _, c := range cgroups {
		version := v2
		if !c.unified {
			version = v1
			if !slices.Contains(c.controllers, "memory") {
				continue
			}
		}
		top, dir, ok := cgroupDirectory(c, mounts)
		if !ok {
			continue
		}
		for ; ; dir = path.Dir(dir) {
			left = min(left, version.left(dir, read))
			if dir == top || dir == "/" {
				break
			}
		}
	}
	if left == math.MaxUint64 {
		return 0, false
	}
	return left, true
}

// cgroupDirectory returns the directory of a cgroup, and that of the outermost
// cgroup that its mount shows.
func cgroupDirectory(c cgroup, mounts []mount) (top, dir string, ok bool) {
	for _, m := range mounts {
		switch {
		case c.unified && m.kind != "cgroup2":
			continue
		case !c.unified && (m.kind != "cgroup" || !slices.Contains(m.options, "memory")):
			continue
		}
		below, ok := strings.CutPrefix(c.path, strings.TrimSuffix(m.root, "/"))
		// A path through .. leads out of uspan's own cgroup namespace.
		if !ok || below != "" && below[0] != '/' || strings.Contains(below+"/", "/../") {
			continue
		}
		return m.point, path.Join(m.point, below), true
	}
	return "", "", false
}

// left is what one cgroup has left, or the greatest number without a limit. A
// missing file is no limit: the root has none, nor has a hierarchy whose memory
// controller is in use elsewhere.
func (v memoryVersion) left(dir string, read func(string) ([]byte, error)) uint64 {
	limit := uint64(math.MaxUint64)
	for _, name := range v.limits {
		if text, err := read(path.Join(dir, name)); err == nil {
			limit = min(limit, parseLimit(string(text)))
		}
	}
	if limit == math.MaxUint64 {
		return limit
	}
	text, err := read(path.Join(dir, v.usage))
	if err != nil {
		return math.MaxUint64
	}
	usage, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	if text, err := read(path.Join(dir, "memory.stat")); err == nil {
		usage -= min(usage, statValue(string(text), v.inactive))
	}
	return limit - min(limit, usage)
}

// parseLimit parses a limit in bytes. None is "max" in version 2, and in version
// 1 the greatest number of whole pages that an int64 counts (PAGE_COUNTER_MAX).
func parseLimit(text string) uint64 {
	const unlimited = math.MaxInt64 &^ (1<<16 - 1) // pages have at most 64 KiB
	limit, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil || limit >= unlimited {
		return math.MaxUint64
	}
	return limit
}

func statValue(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
