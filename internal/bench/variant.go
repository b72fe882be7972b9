package main

import (
	"errors"

	"github.com/uspan/uspan/instrument/plan"
)

// A variant is one way to trace the target, or not to. To add one: a line in
// variants, and an attach function in a file of its own.
type variant struct {
	name     string
	function string // of the target
	attach   func(*target) (tracer, error)
}

// The variants that others are compared with, and those with a goal.
const (
	untraced     = "untraced"
	floor        = "floor: empty programs on uspan's sites"
	uspanBare    = "uspan --capture none"
	uspanBeside  = "the same, beside captures of another function"
	uspanValues  = "uspan, an int, a string, an error"
	uspanHist    = "uspan hist"
	usualRecipe  = "usual recipe: first instruction, every RET"
	bpftraceName = "bpftrace, the first instruction alone"
)

// variants are in the order of the table.
var variants = []variant{
	{untraced, work, func(*target) (tracer, error) { return nothing{}, nil }},
	{floor, work, attachFloor},
	{uspanBare, work, withRules(plan.Rules{})},
	{uspanBeside, work, withRules(beside)},
	{uspanValues, work, withRules(plan.Rules{Values: true})},
	{uspanHist, work, attachHistograms},
	{usualRecipe, work, attachRecipe},
	{bpftraceName, work, attachBpftrace},
}

// beside has captures of a function that is never called in the round.
var beside = plan.Rules{
	Patterns:    []string{deep.function},
	Expressions: []plan.Expressions{{Pattern: deep.function, List: []plan.Expression{{Name: "v", Text: "v"}}}},
}

func withRules(rules plan.Rules) func(*target) (tracer, error) {
	return func(t *target) (tracer, error) { return attachUspan(t, rules) }
}

// A tracer is attached to a target.
type tracer interface {
	// Settle waits until the tracer has worked off what it was told of that
	// many calls since it was attached, or has stopped doing so: its work
	// belongs to its own round.
	Settle(calls uint64)
	// Close detaches and says what came of all calls since it was attached.
	Close() (tally, error)
}

// tally is what a tracer counted.
type tally struct {
	// known says that the tracer counts calls.
	known bool
	// exact says that seen and lost have to add up to the calls.
	exact      bool
	seen, lost uint64
}

// errMissing is why a variant is not measured: what it needs is not here.
var errMissing = errors.New("not installed")

// nothing traces nothing. It is the part of tracers that do not count.
type nothing struct{}

func (nothing) Settle(uint64)         {}
func (nothing) Close() (tally, error) { return tally{}, nil }
