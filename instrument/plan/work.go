package plan

import (
	"fmt"
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

// Work says that a function waits for work in a loop: a call of it goes on for as
// long as its goroutine, and what it calls in that loop is a unit of work, which
// begins a trace. So it is only where the function is what a goroutine is for, a
// goroutine's first function or one that a wrapper or a function literal at that
// place calls; where the work is connections to accept, as far as the code shows, in
// any call without a parent and on the process's first goroutine, too; and in any call
// of what is known to be a server.
type Work struct {
	// Calls are those of the loop.
	Calls []WorkCall
	// CallsAt is how much deeper than the function's own return address those of
	// its calls lie, in bytes.
	CallsAt uint32
	// Depths are the depths of the function's return address at which it is what
	// a goroutine is for; up to three.
	Depths []uint32
	// Accepts says that connections are accepted, as it seems, and Serves that they are
	// for sure.
	Accepts, Serves bool
}

// A WorkCall is a call in a loop that waits for work, or a go statement there. Its
// addresses are those of link time.
type WorkCall struct {
	// Addr is the instruction that calls, and Return where the call returns to.
	Addr, Return uint64
	// Target is the entry of what is called: 0 where only the running program knows.
	Target uint64
	// Go says that the call begins a goroutine.
	Go bool
	// WaitsFor is what the loop does to get work, such as `receives from a channel`,
	// and WaitsAt where.
	WaitsFor string
	WaitsAt  uint64
}

// waits are the functions that wait for a channel or a condition, or for the next
// request on a connection, and those that accept a connection, by what they are called
// in the printed plan.
var waits = map[string]string{
	"runtime.chanrecv1":             "receives from a channel",
	"runtime.chanrecv2":             "receives from a channel",
	"runtime.selectgo":              "selects",
	"sync.(*Cond).Wait":             "waits for a condition",
	"net/http.(*conn).readRequest":  "reads requests",
	"net.(*TCPListener).Accept":     accepts,
	"net.(*TCPListener).AcceptTCP":  accepts,
	"net.(*UnixListener).Accept":    accepts,
	"crypto/tls.(*listener).Accept": accepts,
}

const accepts = "accepts connections"

// servers are functions that accept connections in a loop, by the interface of any
// listener, and go on as long as that, or that take up the requests of a connection.
var servers = map[string]bool{
	"net/http.(*Server).Serve":                   true,
	"google.golang.org/grpc.(*Server).Serve":     true,
	"net/http.(*http2serverConn).serve":          true,
	"golang.org/x/net/http2.(*serverConn).serve": true,
}

// work finds the loops of the traced functions that wait for work.
func (b *builder) work() *workFinder {
	w := &workFinder{builder: b, calls: make(map[uint64]bool), byEntry: make(map[uint64]int, len(b.functions)), waiters: make(map[uint64]string), waits: make(map[uint64]string), newproc: make(map[uint64]bool), runtime: make(map[uint64]bool)}
	for i := range b.functions {
		fn := &b.functions[i]
		if fn.End == 0 {
			continue // inlined everywhere: it has no entry
		}
		w.byEntry[fn.Entry] = i
		if why := waits[fn.Symbol]; why != "" {
			w.waits[fn.Entry], w.calls[fn.Entry] = why, true
		}
		if fn.Symbol == "runtime.newproc" { // and its ABI0 wrapper
			w.newproc[fn.Entry], w.calls[fn.Entry] = true, true
		}
		if ofRuntime(fn) {
			w.runtime[fn.Entry] = true
		}
	}
	for f := range ahead(w.candidates) {
		if f.Work = w.find(&f.Function); f.Work != nil {
			f.Work.Depths = b.startDepths(&f.Function)
		}
	}
	return w
}

// candidates yields the traced functions that may wait for work.
func (w *workFinder) candidates(yield func(*Function) bool) {
	scout := *w // with a memory of its own: it goes ahead
	scout.waiters = make(map[uint64]string)
	for i := range w.plan.Functions {
		f := &w.plan.Functions[i]
		if f.Adopts && !f.Assembly && scout.mayWait(&f.Function) && !yield(f) {
			return
		}
	}
}

// A workFinder knows the functions that matter to loops.
type workFinder struct {
	*builder
	calls   map[uint64]bool // the keys of waits and newproc
	waits   map[uint64]string
	newproc map[uint64]bool
	runtime map[uint64]bool
	byEntry map[uint64]int
	waiters map[uint64]string // by entry, of those that were looked at: see waiter
}

// mayWait says whether a function calls what a loop can wait by.
func (w *workFinder) mayWait(fn *gobin.Function) bool {
	called, known := w.leads(w.byEntry[fn.Entry])
	if !known {
		if w.file.MayCall(fn, w.calls) {
			return true
		}
		if body, err := w.file.Body(fn); err == nil {
			for n := range body.Instructions {
				if in := &body.Instructions[n]; in.Kind == gobin.Call {
					called = append(called, in.Target)
				}
			}
		}
	}
	return slices.ContainsFunc(called, func(entry uint64) bool { return w.calls[entry] || w.waiter(entry) != "" })
}

// leads are the entries of functions that a function calls or jumps to directly, known
// where it is traced.
func (b *builder) leads(i int) (entries []uint64, known bool) {
	placed := b.placements[i]
	if placed == nil || placed.reason != "" {
		return nil, false
	}
	return placed.leads, true
}

// mayCall says whether a function calls one of the targets, as gobin.File.MayCall does.
func (b *builder) mayCall(i int, targets map[uint64]bool) bool {
	if entries, known := b.leads(i); known {
		return slices.ContainsFunc(entries, func(entry uint64) bool { return targets[entry] })
	}
	return b.file.MayCall(&b.functions[i], targets)
}

// waiter is what a function does that does nothing but wait for work, or hand over what
// there is: it calls no others but to lock, and, where it does not just receive, by a value or an
// interface: a context's Done, what is deferred. To call it is the same as to do that, which the compiler may make of it;
// empty where it does more, or does not wait.
func (w *workFinder) waiter(entry uint64) string {
	what, known := w.waiters[entry]
	if !known {
		what = w.onlyWaits(entry)
		w.waiters[entry] = what
	}
	return what
}

func (w *workFinder) onlyWaits(entry uint64) (what string) {
	i, ok := w.byEntry[entry]
	if !ok || w.waits[entry] != "" {
		return ""
	}
	fn := &w.functions[i]
	if fn.Assembly || ofRuntime(fn) || fn.Package == "sync" || !w.file.MayCall(fn, w.calls) {
		return ""
	}
	body, err := w.file.Body(fn)
	if err != nil || body.Undecoded != 0 {
		return ""
	}
	others := false
	for n := range body.Instructions {
		in := &body.Instructions[n]
		if in.Kind == gobin.CallIndirect {
			others = true
		}
		if in.Kind != gobin.Call {
			continue
		}
		called := w.waits[in.Target]
		switch {
		case called == accepts, called == "" && !w.helps(in.Target):
			return ""
		case called != "":
			what = called
		}
	}
	if others && what == waits["runtime.chanrecv1"] {
		return "" // it does something with what has come
	}
	return what
}

// helps says whether a function may be called to wait: it is of the runtime, but begins
// no goroutine, or locks.
func (w *workFinder) helps(entry uint64) bool {
	if w.newproc[entry] {
		return false
	}
	i, ok := w.byEntry[entry]
	return w.runtime[entry] || ok && slices.Contains([]string{"sync", "internal/sync", "sync/atomic"}, w.functions[i].Package)
}

// find reads the loops of a function.
func (w *workFinder) find(fn *gobin.Function) *Work {
	body, err := w.file.Body(fn)
	if err != nil || body.Undecoded != 0 || len(body.Instructions) == 0 {
		return nil
	}
	ins := body.Instructions
	loops := loopsOf(fn, ins)
	found := &Work{}
	waiting := make(map[int]WorkCall) // by loop: what all its calls have in common
	waits := func(loop int, what string, at uint64) {
		waiting[loop] = WorkCall{WaitsFor: what, WaitsAt: at}
		found.Accepts = found.Accepts || what == accepts
	}
	for n := range ins {
		if loop := loops[n]; loop >= 0 && waiting[loop].WaitsFor == "" {
			if what := w.waits[ins[n].Target]; what != "" && ins[n].Kind == gobin.Call {
				waits(loop, what, ins[n].Addr)
				found.Serves = found.Serves || what == accepts
			}
		}
	}
	for n := range ins {
		if loop := loops[n]; loop >= 0 && waiting[loop].WaitsFor == "" && ins[n].Kind == gobin.Call && w.newproc[ins[n].Target] {
			if at := w.acceptsIn(ins, loops, loop); at != 0 {
				waits(loop, accepts, at)
			}
		}
	}
	by := make(map[int]uint64) // by loop: the function whose call waits
	for n := range ins {
		if loop := loops[n]; loop >= 0 && waiting[loop].WaitsFor == "" && ins[n].Kind == gobin.Call {
			if what := w.waiter(ins[n].Target); what != "" && eachRound(fn, ins, loops, n) {
				waits(loop, fmt.Sprintf("calls %s, which %s,", w.functions[w.byEntry[ins[n].Target]].Name, what), ins[n].Addr)
				by[loop] = ins[n].Target
			}
		}
	}
	for n := range ins {
		in := &ins[n]
		call := waiting[loops[n]]
		if target := by[loops[n]]; target != 0 && in.Target == target {
			continue
		}
		if call.WaitsFor == "" || in.Kind != gobin.Call && in.Kind != gobin.CallIndirect ||
			w.runtime[in.Target] && !w.newproc[in.Target] || w.waits[in.Target] != "" {
			continue
		}
		delta, ok := w.file.StackDelta(fn, in.Addr)
		if !ok || found.CallsAt != 0 && found.CallsAt != w.arch.calleeDepth(delta) {
			return nil
		}
		found.CallsAt = w.arch.calleeDepth(delta)
		call.Addr, call.Return, call.Go = in.Addr, in.Addr+uint64(len(in.Bytes)), w.newproc[in.Target]
		if in.Kind == gobin.Call {
			call.Target = in.Target
		}
		found.Calls = append(found.Calls, call)
	}
	if len(found.Calls) == 0 {
		return nil
	}
	found.Serves = found.Serves || servers[fn.Symbol]
	return found
}

// accepting are the `go` statements of a function in loops that accept connections, by
// their addresses.
func (w *workFinder) accepting(fn *gobin.Function) map[uint64]bool {
	found := w.find(fn)
	if found == nil {
		return nil
	}
	statements := make(map[uint64]bool)
	for i := range found.Calls {
		if call := &found.Calls[i]; call.Go && call.WaitsFor == accepts {
			statements[call.Addr] = true
		}
	}
	return statements
}

// acceptsIn is the address of a call of an interface's first method in a loop, or
// 0: net.Listener's is Accept. Together with a go statement in the same loop that
// is taken for a loop that accepts connections.
func (w *workFinder) acceptsIn(ins []gobin.Instruction, loops []int, loop int) uint64 {
	for n := range ins {
		if loops[n] == loop && ins[n].Kind == gobin.CallIndirect && w.arch.firstMethod(ins, n) {
			return ins[n].Addr
		}
	}
	return 0
}

// startDepths are the depths at which a function is what a goroutine is for: as
// its first function, or called by a wrapper or a literal that is.
func (b *builder) startDepths(fn *gobin.Function) []uint32 {
	const most = 3
	depths := []uint32{b.arch.startDepth}
	target := map[uint64]bool{fn.Entry: true}
	callers := b.literals(fn.Package)
	if fn.Package != "main" {
		callers = slices.Concat(callers, b.literals("main"))
		slices.Sort(callers)
	}
	for _, i := range callers {
		caller := &b.functions[i]
		if !b.mayCall(i, target) {
			continue
		}
		body, err := b.file.Body(caller)
		if err != nil {
			continue
		}
		for n := range body.Instructions {
			in := &body.Instructions[n]
			if in.Kind != gobin.Call || in.Target != fn.Entry {
				continue
			}
			delta, ok := b.file.StackDelta(caller, in.Addr)
			if depth := b.arch.startDepth + b.arch.calleeDepth(delta); ok && !slices.Contains(depths, depth) && len(depths) < most {
				depths = append(depths, depth)
			}
		}
	}
	return depths
}

// literals are the function literals and wrappers of a package, ascending.
func (b *builder) literals(pkg string) []int {
	if b.literalsOf == nil {
		b.literalsOf = make(map[string][]int)
		for i := range b.functions {
			fn := &b.functions[i]
			if last := base(fn); numbered(last, "func") || numbered(last, "gowrap") || digits(last) {
				b.literalsOf[fn.Package] = append(b.literalsOf[fn.Package], i)
			}
		}
	}
	return b.literalsOf[pkg]
}

// loopsOf numbers the loops of a body: for each instruction that of the outermost
// loop that it is in, or -1. They are the strongly connected components of the
// flow of control (Tarjan's algorithm), without the jump back to the first byte
// behind the growth of the stack.
func loopsOf(fn *gobin.Function, ins []gobin.Instruction) []int {
	return components(successors(fn, ins))
}

// components are loopsOf, by what may follow each instruction.
func components(next [][]int) []int {
	loops := make([]int, len(next))
	index := make([]int, len(next)) // from 1, in the order of the visit
	low := make([]int, len(next))
	done := make([]bool, len(next))
	for i := range loops {
		loops[i] = -1
	}
	type step struct{ at, edge int }
	var open []int
	visited, found := 0, 0
	for root := range next {
		if index[root] != 0 {
			continue
		}
		visited++
		index[root], low[root] = visited, visited
		open = append(open, root)
		for stack := []step{{at: root}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			at := top.at
			if top.edge < len(next[at]) {
				to := next[at][top.edge]
				top.edge++
				switch {
				case index[to] == 0:
					visited++
					index[to], low[to] = visited, visited
					open = append(open, to)
					stack = append(stack, step{at: to})
				case !done[to]:
					low[at] = min(low[at], index[to])
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if len(stack) > 0 {
				below := stack[len(stack)-1].at
				low[below] = min(low[below], low[at])
			}
			if low[at] != index[at] {
				continue
			}
			from := slices.Index(open, at)
			if members := open[from:]; len(members) > 1 || slices.Contains(next[at], at) {
				for _, member := range members {
					loops[member] = found
				}
				found++
			}
			for _, member := range open[from:] {
				done[member] = true
			}
			open = open[:from]
		}
	}
	return loops
}

// eachRound says whether a loop does not go round without the instruction at n.
func eachRound(fn *gobin.Function, ins []gobin.Instruction, loops []int, n int) bool {
	next := successors(fn, ins)
	next[n] = nil
	again := components(next)
	if loops[0] == loops[n] && again[0] >= 0 {
		return false
	}
	for from := range next {
		if loops[from] == loops[n] {
			continue
		}
		for _, to := range next[from] { // where the loop is entered
			if loops[to] == loops[n] && again[to] >= 0 {
				return false
			}
		}
	}
	return true
}

// successors are the instructions that may follow each one. A jump through a
// table leads to every instruction that nothing else leads to.
func successors(fn *gobin.Function, ins []gobin.Instruction) [][]int {
	at := make(map[uint64]int, len(ins))
	for n := range ins {
		at[ins[n].Addr] = n
	}
	next := make([][]int, len(ins))
	reached := make([]bool, len(ins)+1)
	reached[0] = true
	for n := range ins {
		in := &ins[n]
		switch in.Kind {
		case gobin.Return, gobin.JumpRegister, gobin.JumpMemory, gobin.Trap, gobin.Jump:
		default:
			if n+1 < len(ins) {
				next[n] = append(next[n], n+1)
				reached[n+1] = true
			}
		}
		if to, ok := at[in.Target]; ok && (in.Kind == gobin.Jump || in.Kind == gobin.CondJump) && in.Target != fn.Entry {
			next[n] = append(next[n], to)
			reached[to] = true
		}
	}
	for n := range ins {
		if ins[n].Kind != gobin.JumpMemory {
			continue
		}
		for to := range ins {
			if !reached[to] {
				next[n] = append(next[n], to)
			}
		}
	}
	return next
}
