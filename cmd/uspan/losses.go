package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument"
)

// A cause is one for which calls were lost.
type cause struct {
	calls uint64
	why   string
	way   string // out of it, where there is one
}

func (c cause) String() string {
	if c.way == "" {
		return fmt.Sprintf("%d %s", c.calls, c.why)
	}
	return fmt.Sprintf("%d %s (%s)", c.calls, c.why, c.way)
}

// inBrackets are causes behind a number that they explain.
func inBrackets(causes []cause) string {
	if len(causes) == 0 {
		return ""
	}
	texts := make([]string, len(causes))
	for i, c := range causes {
		texts[i] = c.String()
	}
	return " (" + strings.Join(texts, "; ") + ")"
}

// kernelCauses are what the kernel side lost calls for: together they are all of
// Summary.LostSpans.
func kernelCauses(summary *instrument.Summary) []cause {
	lost := &summary.Lost
	return slices.DeleteFunc([]cause{
		{lost.RingFull, "ring buffer full", ""},
		{lost.FramesFull, "too many open calls", "--max-open-calls"},
		{lost.GoroutinesFull, "too many goroutines with open calls", "--max-open-calls"},
		{lost.NoGoroutine, "goroutine unknown", ""},
		{lost.ProcessesFull, fmt.Sprintf("of more than %d processes", instrument.MostProcesses), ""},
		{summary.Unknown, "process unknown", ""},
	}, func(c cause) bool { return c.calls == 0 })
}

// kernelDetails are what was lost beside calls, for -v.
func kernelDetails(summary *instrument.Summary) (details []string) {
	lost := &summary.Lost
	for _, detail := range []struct {
		n    uint64
		what string // with the number in it
	}{
		// The spans say which.
		{lost.Unreadable, "%d reads of values failed: their memory was not there at that moment"},
		{lost.ValuesFull, "%d calls have no values, for want of memory in the kernel"},
		{lost.StacksFull, "%d calls have no stack, for want of memory in the kernel"},
		{lost.PanicsFull, "%d panics could not be kept: the calls that they unwound end without their values"},
		{lost.ChildrenLost, "%d go statements could not be kept: their goroutines begin traces"},

		{lost.LinksLost, "%d calls that begin a trace have no link to where they come from: ring buffer full"},
		{lost.BeginsLost, "%d calls were not told of when they began, but at their end: ring buffer full"},
		{lost.Unpaired, "%d returns were of calls that began before uspan, or whose begin was lost: they make no span"},
		{lost.LeftOpen, "%d times too many calls were unwound at once: some end late"},
		{lost.RelativesFull, fmt.Sprintf("%%d processes were not followed: there is room for %d", instrument.MostProcesses)},
		{lost.ProcessesUntold, "%d processes could not be told of when they began, or executed something: ring buffer full"},
	} {
		if detail.n > 0 {
			details = append(details, fmt.Sprintf(detail.what, detail.n))
		}
	}
	return details
}
