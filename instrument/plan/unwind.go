package plan

import (
	"fmt"

	"github.com/uspan/uspan/instrument/gobin"
)

// A Role is what happens at a site in the runtime.
type Role uint8

// Roles. Only a panic or runtime.Goexit comes to these sites.
const (
	// PanicBegins: the entry of runtime.gopanic, which has the value.
	PanicBegins Role = iota + 1
	// PanicRecovered: the entry of runtime.recovery, which runs on the thread's
	// own stack and has the goroutine for an argument.
	PanicRecovered
	// PanicFatal: the entry of runtime.fatalpanic: the process will die of it.
	PanicFatal
	// GoexitBegins: the entry of runtime.Goexit.
	GoexitBegins
	// GoexitEnds: where runtime.Goexit has run all deferred functions. What it
	// calls there is every goroutine's end and carries no probe.
	GoexitEnds
)

// String is what happens there, for the printed plan.
func (r Role) String() string {
	switch r {
	case PanicBegins:
		return "a panic begins"
	case PanicRecovered:
		return "a panic was recovered"
	case PanicFatal:
		return "a panic ends the process"
	case GoexitBegins:
		return "Goexit begins"
	case GoexitEnds:
		return "Goexit ends the goroutine"
	}
	return "nothing"
}

// A RuntimeSite is a site in the runtime. It stands beside any choice of
// functions, and costs nothing as long as nothing panics.
type RuntimeSite struct {
	gobin.Function
	Site
	Role Role
}

// unwinding places the probes that see panics and Goexit unwind the stack: all
// of them or none, since each alone would only see half of it. What is missing
// is said in Plan.Unwatched; the depth of calls ends them all the same, later.
func (b *builder) unwinding() {
	if !b.plan.Runtime.Offsets.Panics() {
		b.plan.Unwatched = fmt.Sprintf("where a panic returns to is not known for %s", b.file.GoVersion)
		return
	}
	var sites []RuntimeSite
	for _, want := range []struct {
		symbol string
		role   Role
	}{
		{"runtime.gopanic", PanicBegins},
		{"runtime.recovery", PanicRecovered},
		{"runtime.fatalpanic", PanicFatal},
		{"runtime.Goexit", GoexitBegins},
		{"runtime.Goexit", GoexitEnds},
	} {
		fn := b.symbol(want.symbol)
		if fn == nil {
			if want.symbol == "runtime.Goexit" {
				continue // nothing in the program calls it
			}
			b.plan.Unwatched = fmt.Sprintf("the executable has no %s", want.symbol)
			return
		}
		site, reason := b.runtimeSite(fn, want.role)
		if reason != "" {
			b.plan.Unwatched = fmt.Sprintf("%s: %s", want.symbol, reason)
			return
		}
		sites = append(sites, RuntimeSite{Function: *fn, Site: site, Role: want.role})
	}
	b.plan.Unwinding = sites
}

// symbol finds the function of that name that follows ABIInternal.
func (b *builder) symbol(name string) *gobin.Function {
	for i := range b.functions {
		if fn := &b.functions[i]; fn.Symbol == name && !fn.Wrapper && !fn.Assembly {
			return fn
		}
	}
	return nil
}

// runtimeSite is where a role of a function of the runtime is seen, or why that
// is not to be had.
func (b *builder) runtimeSite(fn *gobin.Function, role Role) (Site, string) {
	body, err := b.file.Body(fn)
	switch {
	case err != nil:
		return Site{}, err.Error()
	case body.Undecoded != 0 || len(body.Instructions) == 0:
		return Site{}, "its code cannot be decoded"
	}
	site, reason := b.arch.entryOf(fn, body)
	if role == GoexitEnds {
		site, reason = b.callOf(fn, body.Instructions, "runtime.goexit1")
	}
	if reason != "" {
		return Site{}, reason
	}
	if delta, ok := b.file.StackDelta(fn, site.Addr); role != GoexitEnds && (!ok || delta != 0) {
		return Site{}, "its stack pointer is not at the return address where it begins"
	}
	offset, ok := b.file.Offset(site.Addr)
	if !ok {
		return Site{}, "its code is not in the file"
	}
	site.Offset = offset
	return site, ""
}

// entryOf is the entry site of a function.
func (a *architecture) entryOf(fn *gobin.Function, body *gobin.Body) (Site, string) {
	flow := a.follow(fn, body.Instructions)
	if flow.reason != "" {
		return Site{}, flow.reason
	}
	return a.entrySite(fn, body.Instructions, a.begin(body), flow)
}

// callOf is the only call of another function in a body.
func (b *builder) callOf(fn *gobin.Function, ins []gobin.Instruction, symbol string) (Site, string) {
	targets := make(map[uint64]bool) // the function, and its ABI0 wrapper
	for i := range b.functions {
		if b.functions[i].Symbol == symbol {
			targets[b.functions[i].Entry] = true
		}
	}
	var found *gobin.Instruction
	for i := range ins {
		if in := &ins[i]; in.Kind == gobin.Call && targets[in.Target] {
			if found != nil {
				return Site{}, "it calls " + symbol + " twice"
			}
			found = in
		}
	}
	switch {
	case found == nil:
		return Site{}, "it does not call " + symbol
	case found.Refused != "":
		return Site{}, "the kernel takes no probe on its call of " + symbol + ": " + found.Refused
	}
	return b.arch.siteAt(fn, found), ""
}
