// Command start measures what uspan takes for thousands of functions of large
// executables: the time until it is attached, the time until it is gone, its
// memory, and that of its BPF maps. All of that is seen from outside, so that any
// build of uspan can be measured.
//
// It needs root, a kernel that uspan traces on, and the go command. The go
// command is also what is traced, and with -rclone an executable of 110 MB,
// which takes minutes to build the first time.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uspan/uspan/internal/docs"
	"github.com/uspan/uspan/internal/testprog"
)

func main() {
	uspan := flag.String("uspan", "", "measure this `executable` of uspan (default: this source's)")
	runs := flag.Int("runs", 7, "how often each is measured")
	rclone := flag.Bool("rclone", false, "measure an executable of 110 MB, too")
	page := flag.String("write", "", "put the table into this `page`, too")
	flag.Parse()
	table, err := measureAll(*uspan, *runs, *rclone)
	if err == nil {
		fmt.Print(table)
	}
	if err == nil && *page != "" {
		err = docs.Put(*page, command, table)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

// command makes the table of a page.
const command = "make bench-start"

// A subject is an executable with the functions to trace and a command line that
// makes it wait: fifo stands for a FIFO that nobody writes to.
type subject struct {
	name, path string
	patterns   []string
	args       []string
}

const fifo = "FIFO"

func measureAll(uspan string, runs int, withRclone bool) (table string, err error) {
	dir, err := os.MkdirTemp("", "uspan-start-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if uspan == "" {
		uspan = filepath.Join(dir, "uspan")
		build := exec.Command("go", "build", "-trimpath", "-o", uspan, "github.com/uspan/uspan/cmd/uspan")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build uspan: %w\n%s", err, out)
		}
	}
	goCommand, err := testprog.CopyGo(dir)
	if err != nil {
		return "", err
	}
	wait := []string{"mod", "edit", "-print", fifo}
	subjects := []subject{{"the go command", goCommand, []string{"*"}, wait}}
	if withRclone {
		path, err := testprog.BuildRclone()
		if err != nil {
			return "", err
		}
		subjects = append(subjects, subject{"rclone", path, []string{testprog.RclonePattern}, []string{"cat", fifo}})
	}
	var b strings.Builder
	b.WriteString(docs.Machine())
	b.WriteString("| executable | `--capture` | functions | attached | processor time | gone | resident | at most | BPF maps |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range subjects {
		info, err := os.Stat(s.path)
		if err != nil {
			return "", err
		}
		for _, capture := range []string{"none", "auto"} {
			r, err := s.measure(uspan, filepath.Join(dir, fifo), capture, runs)
			if err != nil {
				return "", fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(&b, "| %s, %d MB | %s | %d | %v | %v | %v | %d MiB | %d MiB | %d MiB |\n", s.name, info.Size()/1e6, capture,
				r.functions, r.attached, r.cpu, r.gone, r.resident>>20, r.most>>20, r.maps>>20)
		}
	}
	return b.String(), nil
}

// figures are what one run of uspan took, or medians of several.
type figures struct {
	functions            int
	attached, cpu, gone  time.Duration
	resident, most, maps uint64 // bytes
}

func (s *subject) measure(uspan, fifo, capture string, runs int) (figures, error) {
	var all []figures
	for range runs {
		f, err := s.once(uspan, fifo, capture)
		if err != nil {
			return f, err
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		return figures{}, errors.New("no runs")
	}
	duration := func(of func(figures) time.Duration) time.Duration {
		slices.SortFunc(all, func(a, b figures) int { return int(of(a) - of(b)) })
		return of(all[len(all)/2]).Round(time.Millisecond)
	}
	bytes := func(of func(figures) uint64) uint64 {
		return uint64(duration(func(f figures) time.Duration { return time.Duration(of(f)) }))
	}
	return figures{
		functions: all[0].functions,
		attached:  duration(func(f figures) time.Duration { return f.attached }),
		cpu:       duration(func(f figures) time.Duration { return f.cpu }),
		gone:      duration(func(f figures) time.Duration { return f.gone }),
		resident:  bytes(func(f figures) uint64 { return f.resident }),
		most:      bytes(func(f figures) uint64 { return f.most }),
		maps:      bytes(func(f figures) uint64 { return f.maps }),
	}, nil
}
