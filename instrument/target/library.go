package target

import (
	"os"
	"slices"
	"strings"
)

// Libraries are the paths, in the process's own root, of the files that it has code
// of, beside its executable. What was removed meanwhile is not among them.
func (p *Process) Libraries() ([]string, error) {
	maps, err := os.ReadFile(procPath(p.pid, "maps"))
	if err != nil {
		return nil, p.vanished(err)
	}
	var paths []string
	for line := range strings.Lines(string(maps)) {
		// address perms offset dev inode path: proc_pid_maps(5)
		fields := strings.SplitN(strings.TrimSpace(line), " ", 6)
		if len(fields) < 6 || !strings.Contains(fields[1], "x") {
			continue
		}
		path := strings.TrimLeft(fields[5], " ")
		if strings.HasPrefix(path, "/") && !strings.HasSuffix(path, " (deleted)") && path != p.ExePath() {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// OpenLibrary opens one of Libraries.
func (p *Process) OpenLibrary(path string) (*os.File, error) {
	return os.Open(procPath(p.pid, "root"+path))
}
