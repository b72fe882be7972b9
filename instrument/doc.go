// Package instrument turns calls of functions of running Go programs into spans.
// Run is the whole way from targets to spans; Plan is the part of it that needs
// neither a kernel nor privileges. Each step is a package:
//
//	path ─ gobin.Open ▸ File ─ plan.Build(rules) ▸ Plan ─ attach.Attach(target) ▸ Session
//	     ─ Read ▸ bpf.Record ─ span.Assembler ▸ Span ─ Output
//
// Data flows one way, and nothing calls leftward. Everything left of attach is
// a pure function of the executable and the rules.
//
// # Glossary
//
// Function: one function of an executable, identified by its entry address;
// names are not always unique.
//
// Call: one execution of a function, from its entry to its return.
//
// Depth: the distance in bytes of the return address of a call from the top of
// its goroutine's stack. It stays the same when the runtime moves the stack.
//
// Frame: what the kernel side keeps of a call that has begun and not ended; it
// is found by goroutine and depth.
//
// Site: one address that carries a probe: an entry or an exit of a function.
//
// Probe: the breakpoint at a site with the program that runs when it is hit.
//
// Emulated, single-stepped: how the kernel executes the instruction under a
// breakpoint; a single step costs a second trap.
//
// Unwinding: what a panic or runtime.Goexit does to calls: their frames are gone
// without a return. Probes in the runtime that nothing else hits see it.
//
// Go site: a `go` statement that carries a probe, so that the goroutine's calls
// belong to the call that it is in.
//
// Work, root call: a loop that waits for work, and the calls in it, each of which
// begins a trace with a link to the call that the loop is in.
//
// Cookie: the number that a site hands to its program: which function it is,
// and what the program has to know about the site.
//
// Plan: which functions of one executable are traced, their sites and
// captures, and which are not, with the reason.
//
// Capture: how one argument or result is read from registers and memory.
//
// Histogram, bucket: the calls of a function by their durations, counted in the
// kernel where no call is an event.
//
// Event: what the kernel side tells of a call, a record in the ring buffer.
//
// Span: one call as OpenTelemetry has it. Trace: a tree of spans.
//
// Target: a process that is traced. Resource: what is said about it.
//
// Bias: what addresses in a process are above those in its executable, for
// executables that are loaded anywhere (PIE).
//
// Relative: a process that a target has started, or that was a target until it
// executed something. With Config.Follow it is a target where it runs an executable
// that is traced.
//
// Stack: the functions that are open at the entry of a call, from the call to the
// first of its goroutine. Tally: the calls counted by their stacks in the kernel.
//
// Put off, late: of hits whose goroutine cannot be read at that moment, as the kernel
// moves its memory; they are told before its next hit that can be.
//
// Lost: a call of a traced function that gave no span, counted by cause.
// Unpaired: a return of a call that began before the probes were there.
package instrument
