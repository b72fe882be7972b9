package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// The functions of the target that begin goroutines, batch of them in each call.
const (
	begin      = "main.begin"
	beginOther = "main.beginOther"
	batch      = 1000
)

// The variants of what a goroutine costs that a `go` statement begins.
const (
	goUntraced  = "go, untraced"
	goElsewhere = "go elsewhere in a traced program"
	goFloor     = "go, with an empty program on the statement"
	goReads     = "go, with a program that reads g, m and p"
	goInside    = "go in a traced function"
)

// creations are in the order of their table. A goroutine counts as a call.
var creations = []variant{
	{goUntraced, beginOther, func(*target) (tracer, error) { return nothing{}, nil }},
	{goElsewhere, beginOther, attachElsewhere},
	{goFloor, begin, attachGoFloor},
	{goReads, begin, attachReads},
	{goInside, begin, attachInside},
}

// attachInside traces the function that begins the goroutines: a span for a batch.
func attachInside(t *target) (tracer, error) {
	inside, err := attachUspan(t, plan.Rules{})
	if err != nil {
		return nil, err
	}
	inside.(*uspan).calls = batch
	return inside, nil
}

// An elsewhere is uspan where it traces a function that is not called.
type elsewhere struct{ tracer }

func attachElsewhere(t *target) (tracer, error) {
	traced := *t
	traced.function = begin
	u, err := attachUspan(&traced, plan.Rules{})
	return elsewhere{u}, err
}

func (elsewhere) Settle(uint64) {}

func (e elsewhere) Close() (tally, error) {
	counted, err := e.tracer.Close()
	counted.exact = false
	return counted, err
}

// attachGoFloor puts a program that does nothing on the `go` statement.
func attachGoFloor(t *target) (tracer, error) {
	return attachGo(t, func(_ *plan.Plan, objects *benchObjects) (*ebpf.Program, error) {
		return objects.Nothing, nil
	})
}

// readProbes read at `go` statements what uspan has to read at least, to know which
// goroutine one begins.
type readProbes struct{ floorProbes }

func attachReads(t *target) (tracer, error) {
	p, err := attachGo(t, func(p *plan.Plan, objects *benchObjects) (*ebpf.Program, error) {
		at := p.Runtime.Offsets
		return objects.Reads, errors.Join(
			objects.ThreadOffset.Set(uint32(at.M)),
			objects.ProcessorOffset.Set(uint32(at.P)),
			objects.StockOffset.Set(uint32(at.GoidCache)))
	})
	return readProbes{p}, err
}

func (r readProbes) Close() (tally, error) {
	counted := tally{known: true}
	err := r.objects.Unread.Get(&counted.lost)
	return counted, errors.Join(err, r.close())
}

// attachGo puts a program of the benchmark on the `go` statement.
func attachGo(t *target, program func(*plan.Plan, *benchObjects) (*ebpf.Program, error)) (floorProbes, error) {
	planned, err := t.plan()
	if err != nil {
		return floorProbes{}, err
	}
	p, err := loadProbes(false)
	if err != nil {
		return floorProbes{}, err
	}
	var offsets, cookies []uint64
	for _, site := range planned.GoSites {
		offsets = append(offsets, site.Offset)
		cookies = append(cookies, bpf.Cookie(0, 0, 0, bpf.ConditionAlways, 0))
	}
	chosen, err := program(planned, &p.objects)
	if err == nil {
		err = p.attach(t.path, chosen, offsets, cookies)
	}
	if err != nil {
		return floorProbes{}, errors.Join(err, p.close())
	}
	return floorProbes{probes: p}, nil
}

// printCreations prints the table of goroutines, and whether its goals are reached:
// one that is begun elsewhere costs what it always costs, one that is begun in a
// traced function a probe more. How much of that the reads alone take that it cannot
// do without is said, too.
func printCreations(w io.Writer, results []*result) {
	fmt.Fprintln(w)
	printTable(w, results, "goroutine", [2]base{{"× untraced", goUntraced}, {"× empty", goFloor}})
	fmt.Fprintln(w)
	for _, goal := range []struct {
		variant, of string
		most        float64
	}{
		{goElsewhere, goUntraced, 1.1},
		{goInside, goFloor, 1.3},
	} {
		r, of := find(results, goal.variant), find(results, goal.of)
		if r.missing == nil && of.missing == nil {
			printGoal(w, r, of, goal.most)
		}
	}
	reads, of := find(results, goReads), find(results, goFloor)
	if reads.missing == nil && of.missing == nil {
		q := ratios(reads.costs, of.costs)
		fmt.Fprintf(w, "to tell which goroutine it begins takes three reads of the runtime's structs: with these alone %.2f (%.2f … %.2f) times\n", q.median, q.first, q.third)
	}
}
