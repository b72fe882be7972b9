package target

import (
	"io/fs"
	"os"
	"testing"
)

func TestMemoryLeft(t *testing.T) {
	const v2Host = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	const v1Host = "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	tests := []struct {
		name           string
		cgroup, mounts string
		files          map[string]string
		left           uint64
		limited        bool
	}{
		{"the least of all levels", "0::/a/b\n", v2Host, map[string]string{
			"/sys/fs/cgroup/a/b/memory.max":     "max",
			"/sys/fs/cgroup/a/b/memory.high":    "9000",
			"/sys/fs/cgroup/a/b/memory.current": "1000",
			"/sys/fs/cgroup/a/memory.max":       "7000",
			"/sys/fs/cgroup/a/memory.current":   "3000",
			"/sys/fs/cgroup/a/memory.stat":      "anon 1\ninactive_file 500\n",
		}, 4500, true},
		{"no limit", "0::/a\n", v2Host, map[string]string{
			"/sys/fs/cgroup/a/memory.max":     "max",
			"/sys/fs/cgroup/a/memory.current": "1000",
		}, 0, false},
		{"version 1", "4:memory:/a\n1:cpu:/b\n0::/\n", v1Host, map[string]string{
			"/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "8000",
			"/sys/fs/cgroup/memory/a/memory.usage_in_bytes": "6000",
			"/sys/fs/cgroup/memory/a/memory.stat":           "inactive_file 1\ntotal_inactive_file 1000\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712",
		}, 3000, true},
		// What uspan sees of a container beside its own, through its own mount and
		// through the other's.
		{"beside, own mount, version 2", "0::/../other\n", v2Host, map[string]string{
			"/sys/fs/cgroup/memory.max": "1", "/sys/fs/cgroup/memory.current": "1",
		}, 0, false},
		{"beside, its mount, version 2", "0::/../other\n",
			"30 23 0:26 /../other /sys/fs/cgroup ro - cgroup2 cgroup rw\n", map[string]string{
				"/sys/fs/cgroup/memory.max": "5000", "/sys/fs/cgroup/memory.current": "4000",
			}, 1000, true},
		{"beside, own mount, version 1", "4:memory:/docker/other\n",
			"30 23 0:26 /docker/own /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", map[string]string{
				"/sys/fs/cgroup/memory/memory.limit_in_bytes": "1", "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1",
			}, 0, false},
		{"beside, its mount, version 1", "4:memory:/docker/other\n",
			"30 23 0:26 /docker/other /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", map[string]string{
				"/sys/fs/cgroup/memory/memory.limit_in_bytes": "5000", "/sys/fs/cgroup/memory/memory.usage_in_bytes": "4000",
			}, 1000, true},
	}
	for _, test := range tests {
		read := func(path string) ([]byte, error) {
			if text, ok := test.files[path]; ok {
				return []byte(text + "\n"), nil
			}
			return nil, fs.ErrNotExist
		}
		left, limited := memoryLeft(parseCgroups(test.cgroup), parseMounts(test.mounts), read)
		if left != test.left || limited != test.limited {
			t.Errorf("%s: %d left, %v; want %d, %v", test.name, left, limited, test.left, test.limited)
		}
	}
}

// A file in a container that is not what it should be is not read.
func TestReadCgroupFile(t *testing.T) {
	path := t.TempDir() + "/memory.max"
	if err := os.WriteFile(path, []byte("5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := readCgroupFile(path); err == nil {
		t.Errorf("%s has %q", path, text)
	}
}
