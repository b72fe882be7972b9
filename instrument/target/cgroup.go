package target

import (
	"strconv"
	"strings"
)

// A cgroup is one line of /proc/PID/cgroup (cgroups(7)): the place of a process
// in one hierarchy. The unified one (version 2) has no controllers there.
type cgroup struct {
	unified     bool
	controllers []string
	path        string
}

func parseCgroups(text string) []cgroup {
	var all []cgroup
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		all = append(all, cgroup{
			unified:     fields[0] == "0",
			controllers: strings.Split(fields[1], ","),
			path:        fields[2],
		})
	}
	return all
}

// A mount is what is needed of one line of /proc/PID/mountinfo
// (proc_pid_mountinfo(5)).
type mount struct {
	// root is the directory, or file, of the file system that is mounted.
	root string
	// point is where.
	point string
	// kind is the type of the file system, options those of its super block.
	kind    string
	options []string
}

func parseMounts(text string) []mount {
	var all []mount
	for line := range strings.Lines(text) {
		// Optional fields are between the sixth and a dash.
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 3 {
			continue
		}
		all = append(all, mount{
			root:    unescape(left[3]),
			point:   unescape(left[4]),
			kind:    right[0],
			options: strings.Split(right[2], ","),
		})
	}
	return all
}

// unescape undoes the octal escapes of blanks and backslashes (mangle_path in
// fs/seq_file.c).
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
