package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	process "github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/docs"
)

// timing is a program that times its own calls: of these functions, under recursion
// and in goroutines that block.
const timing = "./instrument/testdata/timing"

var timed = []struct{ function, what string }{
	{"main.descend", "calls itself, eight levels deep"},
	{"main.sleep", "blocks, in 200 goroutines at once"},
}

// shownQuantiles are those that are compared.
var shownQuantiles = []float64{.5, .9, .99}

// A distribution is how long the calls of a function took: each quantile is at least
// low and at most high.
type distribution struct {
	calls     uint64
	low, high []time.Duration
}

// methods measure how long calls take, in a run of the program each.
var methods = []struct {
	name    string
	measure func(path string, output *os.File) (map[string]distribution, error)
}{
	{"`uspan hist`", measureByUspan},
	{"the recipe, by process (bpftrace's `pid`)", func(path string, output *os.File) (map[string]distribution, error) {
		return measureByRecipe(path, output, true)
	}},
	{"the recipe, by thread (bpftrace's `tid`)", func(path string, output *os.File) (map[string]distribution, error) {
		return measureByRecipe(path, output, false)
	}},
}

// compare prints what uspan and the recipe make of a program, beside what that says of
// itself in the same run, as a table in Markdown.
func compare() (string, error) {
	dir, err := os.MkdirTemp("", "uspan-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	lines := make([]strings.Builder, len(timed))
	for n, m := range methods {
		path := filepath.Join(dir, fmt.Sprintf("timing%d", n)) // an inode for each
		if output, err := exec.Command("go", "build", "-trimpath", "-o", path, timing).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the target: %w\n%s", err, output)
		}
		output, err := os.Create(path + ".json")
		if err != nil {
			return "", err
		}
		measured, err := m.measure(path, output)
		if err := errors.Join(err, output.Close()); err != nil {
			return "", fmt.Errorf("%s: %w", m.name, err)
		}
		truth, err := readTruth(path + ".json")
		if err != nil {
			return "", err
		}
		for i, t := range timed {
			writeRow(&lines[i], m.name, measured[t.function], truth[t.function])
		}
	}
	return comparisonTable(lines), nil
}

// comparison is the command that compares.
const comparison = "make bench-recipe"

// writeComparison puts the tables of compare into a page.
func writeComparison(page string) error {
	tables, err := compare()
	if err != nil {
		return err
	}
	return docs.Put(page, comparison, tables)
}

func comparisonTable(lines []strings.Builder) string {
	var b strings.Builder
	b.WriteString(docs.Machine())
	for i, t := range timed {
		fmt.Fprintf(&b, "| `%s` %s | calls |", t.function, t.what)
		for _, q := range shownQuantiles {
			fmt.Fprintf(&b, " p%g |", q*100)
		}
		b.WriteString("\n|---|---|" + strings.Repeat("---|", len(shownQuantiles)) + "\n" + lines[i].String() + "\n")
	}
	return b.String()
}

// writeRow writes what was measured and, of the same run, the truth.
func writeRow(b *strings.Builder, name string, measured, truth distribution) {
	fmt.Fprintf(b, "| %s | %d (%d) |", name, measured.calls, truth.calls)
	for i := range shownQuantiles {
		text := "–"
		if measured.calls > 0 {
			text = short(measured.low[i])
			if measured.high[i] != measured.low[i] {
				text += " to " + short(measured.high[i])
			}
		}
		fmt.Fprintf(b, " %s (%s) |", text, short(truth.low[i]))
	}
	b.WriteByte('\n')
}

// short is a duration in three digits.
func short(d time.Duration) string {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// readTruth is what the program says of itself.
func readTruth(path string) (map[string]distribution, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var said map[string]struct{ Durations []time.Duration }
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("what the target says: %w", err)
	}
	truth := make(map[string]distribution)
	for function, calls := range said {
		slices.Sort(calls.Durations)
		d := distribution{calls: uint64(len(calls.Durations))}
		for _, q := range shownQuantiles {
			d.low = append(d.low, calls.Durations[int(math.Ceil(q*float64(d.calls)))-1])
		}
		d.high = d.low
		truth[function] = d
	}
	return truth, nil
}

func measureByUspan(path string, output *os.File) (map[string]distribution, error) {
	rules := plan.Rules{Durations: true}
	for _, t := range timed {
		rules.Patterns = append(rules.Patterns, t.function)
	}
	ignore := func(string) {}
	trace, err := instrument.Start(instrument.Config{
		Command: &process.Command{Path: path, Stdout: output}, Rules: rules, Histograms: true, Log: ignore, Say: ignore,
	})
	if err != nil {
		return nil, err
	}
	_, err = trace.Run(context.Background())
	all, readErr := trace.Histograms()
	measured := make(map[string]distribution)
	for i := range all {
		d := distribution{calls: all[i].Calls}
		for _, q := range shownQuantiles {
			d.low = append(d.low, all[i].Quantile(q))
		}
		d.high = d.low
		measured[all[i].Function] = d
	}
	return measured, errors.Join(err, readErr, trace.Close())
}

// measureByRecipe puts the recipe on every function, with maps of its own each.
func measureByRecipe(path string, output *os.File, byProcess bool) (measured map[string]distribution, err error) {
	var all []*probes
	defer func() {
		for _, p := range all {
			err = errors.Join(err, p.close())
		}
	}()
	for _, t := range timed {
		p, err := loadProbes(byProcess)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
		if err := p.attachRecipe(path, t.function); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(path)
	cmd.Stdout, cmd.Stderr = output, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	measured = make(map[string]distribution)
	for i, t := range timed {
		var histogram [64]uint64
		if err := all[i].objects.Histogram.Get(&histogram); err != nil {
			return nil, err
		}
		measured[t.function] = ofLogarithms(&histogram)
	}
	return measured, nil
}

// ofLogarithms is the distribution of calls by the logarithm to base 2 of their
// nanoseconds, as bpftrace's hist() counts them.
func ofLogarithms(histogram *[64]uint64) distribution {
	var d distribution
	for _, n := range histogram {
		d.calls += n
	}
	for _, q := range shownQuantiles {
		rank := uint64(math.Ceil(q * float64(d.calls)))
		slot := 0
		for below := histogram[0]; below < rank; below += histogram[slot] {
			slot++
		}
		d.low, d.high = append(d.low, 1<<slot), append(d.high, 2<<slot)
	}
	return d
}
