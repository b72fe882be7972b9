package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var readyLine = regexp.MustCompile(`^uspan: tracing (\d+) functions `)

// once attaches uspan to a process that waits, looks at it, and ends it.
func (s *subject) once(uspan, fifo, capture string) (f figures, err error) {
	waiting, err := s.start(fifo)
	if err != nil {
		return f, err
	}
	defer func() {
		err = errors.Join(err, waiting.Process.Kill())
		_ = waiting.Wait() // killed
	}()
	args := []string{"attach", "--capture", capture, "-o", "json=/dev/null"}
	for _, pattern := range s.patterns {
		args = append(args, "-f", pattern)
	}
	cmd := exec.Command(uspan, append(args, strconv.Itoa(waiting.Process.Pid))...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return f, err
	}
	var said []string
	lines := bufio.NewScanner(stderr)
	for f.functions == 0 && lines.Scan() {
		said = append(said, lines.Text())
		if match := readyLine.FindStringSubmatch(lines.Text()); match != nil {
			f.attached = time.Since(begin)
			f.functions, _ = strconv.Atoi(match[1])
		}
	}
	if f.functions == 0 {
		return f, fmt.Errorf("uspan is not ready: %w\n%s", cmd.Wait(), strings.Join(said, "\n"))
	}
	f.cpu = cpuTime(cmd.Process.Pid)
	// What it does behind the ready line (freeing memory) is over.
	time.Sleep(300 * time.Millisecond)
	f.resident, f.most = status(cmd.Process.Pid, "VmRSS"), status(cmd.Process.Pid, "VmHWM")
	f.maps = mapMemory(cmd.Process.Pid)
	begin = time.Now()
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		return f, err
	}
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return f, fmt.Errorf("uspan ended: %w\n%s", err, strings.Join(said, "\n"))
	}
	f.gone = time.Since(begin)
	return f, nil
}

// start starts the executable and waits until it waits.
func (s *subject) start(fifo string) (*exec.Cmd, error) {
	if err := unix.Mkfifo(fifo, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	var args []string
	for _, arg := range s.args {
		args = append(args, strings.ReplaceAll(arg, filepath.Base(fifo), fifo))
	}
	cmd := exec.Command(s.path, args...)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for before := time.Duration(-1); ; {
		time.Sleep(50 * time.Millisecond)
		now := cpuTime(cmd.Process.Pid)
		if now == before {
			return cmd, nil
		}
		before = now
	}
}

// cpuTime is what a process and the children that it has waited for have used
// (/proc/PID/stat, fields 14 to 17, in hundredths of a second).
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var sum time.Duration
	for _, field := range fields[11:15] {
		ticks, _ := strconv.Atoi(field)
		sum += time.Duration(ticks) * 10 * time.Millisecond
	}
	return sum
}

// status is a field of /proc/PID/status that is an amount of memory, in bytes.
func status(pid int, key string) uint64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// mapMemory is the memory of the BPF maps that a process holds, as the kernel
// says it (from Linux 6.4 on what is really used).
func mapMemory(pid int) (sum uint64) {
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, info := range infos {
		text, _ := os.ReadFile(info)
		var size uint64
		isMap := false
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "map_id":
				isMap = true
			case "memlock":
				size, _ = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			}
		}
		if isMap {
			sum += size
		}
	}
	return sum
}
