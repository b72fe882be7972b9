package instrument

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
)

// checkMemory refuses probes that take much of what a target may still use:
// every text page with a probe becomes a page of its own in each process.
func (t *Trace) checkMemory(i *image) error {
	if t.config.Force {
		return nil
	}
	need := uint64(i.plan.Pages(os.Getpagesize())) * uint64(os.Getpagesize())
	for _, p := range i.processes {
		left, limited := p.MemoryLeft()
		if limited && need > left/10 {
			return fmt.Errorf("process %d: the probes need %d KiB of its memory, and its cgroup has %d KiB left: "+
				"trace fewer functions, or use --force", p.PID(), need>>10, left>>10)
		}
	}
	return nil
}

// checkFootprint refuses to read an executable for which uspan's own cgroup has
// not the memory.
func checkFootprint(file *os.File, path string) error {
	left, limited := target.MemoryLeft(os.Getpid())
	if need := gobin.Footprint(file); limited && need > left {
		return fmt.Errorf("reading %s takes some %s of memory, and uspan's cgroup has %s left: give it more",
			path, mebibytes(need), mebibytes(left))
	}
	return nil
}

// A budget is what uspan's own cgroup, which BPF maps are charged to, had left
// before anything was read.
type budget struct {
	left    uint64
	limited bool
}

func newBudget() (b budget) {
	b.left, b.limited = target.MemoryLeft(os.Getpid())
	return b
}

// fit bounds the open calls by the budget: rather fewer of them, or an error,
// than to be killed later. say tells of fewer.
func (b budget) fit(plans []*plan.Plan, options *attach.Options, say func(string)) error {
	if !b.limited {
		return nil
	}
	debug.FreeOSMemory() // what planning took
	return b.fitBeside(ownMemory(), plans, options, say)
}

// fitBeside is fit for so many bytes that uspan itself takes.
func (b budget) fitBeside(own uint64, plans []*plan.Plan, options *attach.Options, say func(string)) error {
	memory, err := attach.MemoryOf(plans, *options)
	if err != nil || memory.Most()+own <= b.left {
		return err
	}
	fitting, fits, err := attach.Room(plans, *options, b.left-min(own, b.left))
	switch {
	case err != nil:
		return err
	case !fits:
		options.OpenCalls = attach.MinOpenCalls
		if memory, err = attach.MemoryOf(plans, *options); err != nil {
			return err
		}
		return fmt.Errorf("uspan needs some %s of memory, %s of it for BPF maps, and its cgroup has %s left: "+
			"give it more, or trace fewer functions", mebibytes(memory.Most()+own), mebibytes(memory.Most()), mebibytes(b.left))
	case options.OpenCalls != 0:
		return fmt.Errorf("%d open calls need up to %s of memory, and uspan's cgroup has %s left: there is room for --max-open-calls %d",
			options.OpenCalls, mebibytes(memory.Most()+own), mebibytes(b.left), fitting)
	}
	options.OpenCalls = fitting
	say(fmt.Sprintf("uspan's cgroup has %s left: there is room for %d open calls at any moment", mebibytes(b.left), fitting))
	return nil
}

// writeMemory prints what uspan takes: what its targets do is in the plans.
func (c *Config) writeMemory(w io.Writer, plans []*plan.Plan) error {
	memory, err := attach.MemoryOf(plans, c.options())
	if err != nil {
		return err
	}
	calls := c.OpenCalls
	if calls == 0 {
		calls = attach.DefaultOpenCalls
	}
	maps, waits := "", ", and what waits to be sent"
	if c.Histograms {
		maps, waits = fmt.Sprintf(", %s for histograms", mebibytes(memory.Buckets)), ""
	}
	runtime.GC()
	const step = 5 << 20 // it is no exact figure
	own := (ownMemory() + step/2) / step * step
	_, err = fmt.Fprintf(w, "\nmemory of uspan\n  BPF maps    %s, and up to %s more for %d open calls at least%s\n  uspan       some %s%s\n",
		mebibytes(memory.Fixed), mebibytes(memory.Calls), calls, maps, mebibytes(own), waits)
	return err
}

// options are those of the session.
func (c *Config) options() attach.Options {
	return attach.Options{
		Live: c.Live, Histograms: c.Histograms, Stacks: c.Stacks, Tally: c.Tally, OpenCalls: c.OpenCalls,
		TraceSpans: c.TraceSpans, EventBytes: c.EventBytes, Follow: c.Follow, RingBytes: c.ringBytes, Processes: c.processes,
	}
}

// ownMemory is roughly what uspan itself takes in user space once it traces,
// beside the spans that wait for an output: its code, the Go runtime, and a heap as
// large as what is in use now that all is planned and collected. Some of that is given
// up before it traces, and as much garbage comes.
func ownMemory() uint64 {
	const base = 36 << 20
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return base + now.HeapAlloc
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }
