// Package profile has calls counted by their stacks, and the forms in which other
// tools read that: folded lines, pprof's profiles, JSON.
package profile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/uspan/uspan/instrument/span"
)

// A Count is a stack, whose first frame is the function that was called, and the
// number of calls that had it, in an executable.
type Count struct {
	Stack      *span.Stack
	Calls      uint64
	Executable string
}

// Merge adds up what is the same stack, and puts the most frequent last.
func Merge(counts []Count) []Count {
	all := make(map[[2]string]int)
	var merged []Count
	for _, c := range counts {
		at, known := all[[2]string{c.Executable, c.Stack.Text}]
		if !known {
			all[[2]string{c.Executable, c.Stack.Text}] = len(merged)
			merged = append(merged, c)
			continue
		}
		merged[at].Calls += c.Calls
	}
	slices.SortFunc(merged, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Calls, b.Calls), strings.Compare(a.Stack.Text, b.Stack.Text), strings.Compare(a.Executable, b.Executable))
	})
	return merged
}

// A Fold is a stack without lines, and the number of calls that had it.
type Fold struct {
	// Functions are from the outermost to the one that was called.
	Functions []string
	Calls     uint64
}

// Folded are the stacks, the most frequent last. Those that differ in lines alone are
// one.
func Folded(counts []Count) []Fold {
	var folds []Fold
	known := make(map[string]int)
	for _, c := range counts {
		var names []string
		if c.Stack.Cut {
			names = append(names, "…")
		}
		for _, f := range slices.Backward(c.Stack.Frames) {
			names = append(names, strings.ReplaceAll(f.Function, ";", ":"))
		}
		line := strings.Join(names, ";")
		if _, ok := known[line]; !ok {
			known[line] = len(folds)
			folds = append(folds, Fold{Functions: names})
		}
		folds[known[line]].Calls += c.Calls
	}
	slices.SortFunc(folds, func(a, b Fold) int {
		return cmp.Or(cmp.Compare(a.Calls, b.Calls), slices.Compare(a.Functions, b.Functions))
	})
	return folds
}

// WriteFolded writes a line a stack: its functions between semicolons, a space, and
// the number of calls. It is what flame graph tools read.
func WriteFolded(w io.Writer, counts []Count) error {
	for _, f := range Folded(counts) {
		if _, err := fmt.Fprintf(w, "%s %d\n", strings.Join(f.Functions, ";"), f.Calls); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes an object a line for each stack: the function that was called,
// the number of calls, and the frames, the innermost first.
func WriteJSON(w io.Writer, counts []Count) error {
	type frame struct {
		Function string `json:"function"`
		File     string `json:"file,omitempty"`
		Line     int    `json:"line,omitempty"`
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, c := range counts {
		object := struct {
			Function string  `json:"function"`
			Calls    uint64  `json:"calls"`
			Cut      bool    `json:"cut,omitempty"`
			Stack    []frame `json:"stack"`
		}{Function: c.Stack.Frames[0].Function, Calls: c.Calls, Cut: c.Stack.Cut}
		for _, f := range c.Stack.Frames {
			object.Stack = append(object.Stack, frame(f))
		}
		if err := encoder.Encode(object); err != nil {
			return err
		}
	}
	return nil
}

// WritePprof writes a compressed profile of pprof's: calls by stack, from begin on
// for a time.
func WritePprof(w io.Writer, counts []Count, begin time.Time, d time.Duration) error {
	calls := &profile.ValueType{Type: "calls", Unit: "count"}
	p := &profile.Profile{
		SampleType:        []*profile.ValueType{calls},
		DefaultSampleType: calls.Type,
		TimeNanos:         begin.UnixNano(),
		DurationNanos:     int64(d),
		PeriodType:        calls,
		Period:            1,
	}
	// What pprof calls the profile. Names and lines are there: it need not read the file.
	mappings := make(map[string]*profile.Mapping)
	mapping := func(executable string) *profile.Mapping {
		m, known := mappings[executable]
		if !known {
			m = &profile.Mapping{ID: uint64(len(p.Mapping) + 1), File: executable, HasFunctions: true, HasFilenames: true, HasLineNumbers: true, HasInlineFrames: true}
			mappings[executable] = m
			p.Mapping = append(p.Mapping, m)
		}
		return m
	}
	functions := make(map[[2]string]*profile.Function)
	type place struct {
		executable string
		frame      span.Frame
	}
	locations := make(map[place]*profile.Location)
	location := func(at place) *profile.Location {
		if l, known := locations[at]; known {
			return l
		}
		f := at.frame
		fn, known := functions[[2]string{f.Function, f.File}]
		if !known {
			fn = &profile.Function{ID: uint64(len(p.Function) + 1), Name: f.Function, SystemName: f.Function, Filename: f.File}
			functions[[2]string{f.Function, f.File}] = fn
			p.Function = append(p.Function, fn)
		}
		l := &profile.Location{ID: uint64(len(p.Location) + 1), Mapping: mapping(at.executable), Line: []profile.Line{{Function: fn, Line: int64(f.Line)}}}
		locations[at] = l
		p.Location = append(p.Location, l)
		return l
	}
	for _, c := range counts {
		sample := &profile.Sample{Value: []int64{int64(c.Calls)}}
		for _, f := range c.Stack.Frames {
			sample.Location = append(sample.Location, location(place{c.Executable, f}))
		}
		p.Sample = append(p.Sample, sample)
	}
	if err := p.CheckValid(); err != nil {
		return err
	}
	return p.Write(w)
}
