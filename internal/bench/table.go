package main

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// printMachine says where and how it was measured.
func printMachine(w io.Writer, s settings) {
	var kernel unix.Utsname
	release := "unknown"
	if unix.Uname(&kernel) == nil {
		release = unix.ByteSliceToString(kernel.Release[:])
	}
	fmt.Fprintf(w, "linux %s, %s, %d CPUs, %s; %d rounds of %v each, in turns\n\n",
		release, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), s.rounds, s.round)
}

// A base is a variant of which others are shown as multiples, in a column.
type base struct{ head, variant string }

var ofCalls = [2]base{{"× floor", floor}, {"× recipe", usualRecipe}}

// printTable prints a line for each variant: medians, with quartiles of the costs.
func printTable(w io.Writer, results []*result, of string, bases [2]base) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cells ...string) {
		fmt.Fprintf(t, "%s\t%s\t\n", name, strings.Join(cells, "\t"))
	}
	width := 0
	for _, r := range results {
		width = max(width, len(r.variant))
	}
	name := func(s string) string { return fmt.Sprintf("%-*s", width, s) } // left, where the rest is right
	row(name(""), "ns/"+of, "quartiles", bases[0].head, bases[1].head, of+"s", "seen", "lost")
	for _, r := range results {
		if r.missing != nil {
			fmt.Fprintf(t, "%s\t%v\t\n", name(r.variant), r.missing)
			continue
		}
		cost := quartilesOf(r.costs)
		seen, lost := "–", "–"
		if r.tally.known {
			seen, lost = fmt.Sprint(r.tally.seen), fmt.Sprint(r.tally.lost)
		}
		row(name(r.variant), ns(cost.median), ns(cost.first)+" … "+ns(cost.third),
			ratio(r, find(results, bases[0].variant)), ratio(r, find(results, bases[1].variant)),
			fmt.Sprint(r.calls), seen, lost)
	}
	t.Flush()
}

func find(results []*result, variant string) *result {
	for _, r := range results {
		if r.variant == variant {
			return r
		}
	}
	return nil
}

// ns shows nanoseconds, with a digit behind the point where they are few.
func ns(cost float64) string {
	if cost < 100 {
		return strconv.FormatFloat(cost, 'f', 1, 64)
	}
	return strconv.FormatFloat(cost, 'f', 0, 64)
}

func ratio(r, to *result) string {
	if to == nil || to.missing != nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", ratios(r.costs, to.costs).median)
}

// goals bound the cost of uspan without captures, and of its histograms.
var goals = []struct {
	variant, of string
	most        float64
}{
	{uspanBare, floor, 1.3},
	{uspanBare, usualRecipe, 0.6},
	{uspanHist, floor, 1.4},
	{uspanHist, usualRecipe, 0.6},
}

// printGoals says whether they are reached.
func printGoals(w io.Writer, results []*result) {
	bare := find(results, uspanBare)
	if other := find(results, uspanBeside); bare != nil && other != nil && other.missing == nil {
		q := ratios(other.costs, bare.costs)
		fmt.Fprintf(w, "\n%s: %.2f (%.2f … %.2f) times that beside captures of another function\n", uspanBare, q.median, q.first, q.third)
	}
	fmt.Fprintln(w)
	for _, goal := range goals {
		r, of := find(results, goal.variant), find(results, goal.of)
		if r == nil || of == nil {
			continue
		}
		printGoal(w, r, of, goal.most)
	}
}

// printGoal says what a variant costs in multiples of another one, and whether that is
// at most what it should be.
func printGoal(w io.Writer, r, of *result, most float64) {
	q, verdict := ratios(r.costs, of.costs), "reached"
	if q.median > most {
		verdict = "missed"
	}
	fmt.Fprintf(w, "%s: %.2f (%.2f … %.2f) times the %s; at most %.1f: %s\n",
		r.variant, q.median, q.first, q.third, of.variant, most, verdict)
}
