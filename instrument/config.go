package instrument

import (
	"time"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
)

// An Output takes the spans that Run makes. Spans arrive in batches, a call's
// begin (only with Config.Live) before its end. Export must not block for long:
// events wait in the kernel meanwhile, and what does not fit there is lost.
type Output interface {
	Export(spans []*span.Span)
}

// Config says what Run does.
type Config struct {
	// Command is started and traced from its first instruction on; or Targets
	// are process ids, and paths of executables, of which every process is
	// traced, now and later.
	Command *target.Command
	Targets []string

	// Follow traces processes that a target starts, and what a target executes, where
	// they run the same executable. Without it a target ends when it executes
	// anything.
	Follow bool

	Rules plan.Rules
	// Resource are attributes that win over those of the targets.
	Resource []span.Attribute
	// Version is uspan's own.
	Version string

	Outputs []Output
	// Live asks for the begins of calls, too.
	Live bool
	// Stacks asks for the stack of each call at its entry.
	Stacks bool
	// Histograms counts calls by their durations in the kernel, and makes no spans:
	// see Trace.Histograms. Rules.Durations belongs to it.
	Histograms bool
	// Every, where it is not 0, is how often Look is called meanwhile, by Run.
	Every time.Duration
	Look  func()
	// Tally counts calls by their stacks in the kernel, and makes no spans: see
	// Trace.Tally.
	Tally bool
	// For bounds the time of tracing; 0: until the targets end.
	For time.Duration
	// OpenCalls is for how many calls of all targets that are open at any moment there
	// is room at least: it bounds what the kernel side may take of memory. It lies
	// between MinOpenCalls and MostOpenCalls. 0: DefaultOpenCalls, or as many as uspan's
	// cgroup has memory for.
	OpenCalls int
	// EventBytes bounds the captured values of one call in bytes, from MinEventBytes
	// to MaxEventBytes. 0: MaxEventBytes.
	EventBytes int
	// TraceSpans bounds the spans of a trace, about: one that is full goes on in
	// another, whose outermost spans have links. 0: it does not.
	TraceSpans int
	// Of tests: see attach.Options.
	ringBytes, processes int

	// Before is what came of a Trace before this one: the Summary has both. Nil is none.
	Before *Summary

	// Force attaches although the probes take much of the target's memory.
	Force bool

	// Progress, where there is one, takes what is being done now and may take a while;
	// nothing when that is over.
	Progress func(step string)
	// Say takes messages that everybody should see, such as the one that tracing
	// begins; Log takes details, such as each function that is not traced.
	Say, Log func(message string)
}

// Bounds of Config.OpenCalls and Config.EventBytes.
const (
	MinOpenCalls     = attach.MinOpenCalls
	DefaultOpenCalls = attach.DefaultOpenCalls
	MostOpenCalls    = attach.MostOpenCalls
	MostProcesses    = attach.DefaultProcesses // that are traced at any moment
	MinEventBytes    = attach.MinEventBytes
	MaxEventBytes    = attach.MaxEventBytes
)

// progress says what comes now.
func (c *Config) progress(step string) {
	if c.Progress != nil {
		c.Progress(step)
	}
}
