package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// A Worker is a goroutine that waits for work in a loop which no traced function is:
// that of its first function, or, where this is a wrapper or a literal, of what it
// calls. What is called in that loop begins traces, with a link to the call whose
// `go` statement has begun the goroutine. Otherwise the trace of that call would
// take up all work that the goroutine ever does.
type Worker struct {
	// Function is the goroutine's first.
	gobin.Function
	// Loop is the function that has the loop: Function itself, or what it calls.
	Loop gobin.Function
	Work *Work
	// CallsAt is the depth of the return addresses of the loop's calls.
	CallsAt uint32
	// By are the functions whose `go` statements may begin it, by their names.
	By []string
}

// worker says whether a function is what a worker begins with, unless a traced function
// is, or has the loop: then this is what has calls that begin traces.
func (f *goFinder) worker(i int) *Worker {
	if found, known := f.workers[i]; known {
		return found
	}
	f.workers[i] = nil
	fn := &f.functions[i]
	if f.traced(i) || ofRuntime(fn) {
		return nil
	}
	if work := f.waiting(fn); work != nil {
		f.workers[i] = &Worker{Function: *fn, Loop: *fn, Work: work, CallsAt: f.arch.startDepth + work.CallsAt}
		return f.workers[i]
	}
	last := base(fn)
	if !numbered(last, "func") && !numbered(last, "gowrap") && !digits(last) {
		return nil
	}
	body, err := f.file.Body(fn)
	if err != nil || body.Undecoded != 0 {
		return nil
	}
	for n := range body.Instructions {
		in := &body.Instructions[n]
		called, ok := f.byEntry[in.Target]
		if !ok || in.Kind != gobin.Call || f.traced(called) || ofRuntime(&f.functions[called]) {
			continue
		}
		// as in startDepths
		if fn.Package != f.functions[called].Package && fn.Package != "main" && !numbered(last, "gowrap") {
			continue
		}
		delta, ok := f.file.StackDelta(fn, in.Addr)
		if !ok {
			continue
		}
		if work := f.waiting(&f.functions[called]); work != nil {
			f.workers[i] = &Worker{
				Function: *fn, Loop: f.functions[called], Work: work,
				CallsAt: f.arch.startDepth + f.arch.calleeDepth(delta) + work.CallsAt,
			}
			return f.workers[i]
		}
	}
	return nil
}

// waiting is the loop of a function that waits for work.
func (f *goFinder) waiting(fn *gobin.Function) *Work {
	if fn.Assembly || !f.work.mayWait(fn) {
		return nil
	}
	return f.work.find(fn)
}

// traced says whether a function is traced.
func (f *goFinder) traced(i int) bool {
	placed := f.placements[i]
	return placed != nil && placed.reason == ""
}

// addWorkers adds the goroutines that wait for work to the plan, as their code lies in
// the file.
func (f *goFinder) addWorkers() {
	for _, w := range f.workers {
		if w != nil {
			f.plan.Workers = append(f.plan.Workers, *w)
		}
	}
	slices.SortFunc(f.plan.Workers, func(x, y Worker) int { return cmp.Compare(x.Entry, y.Entry) })
}

// roots are the calls that begin traces.
func (w *Worker) roots(file *gobin.File) []Root {
	roots := make([]Root, len(w.Work.Calls))
	for i := range w.Work.Calls {
		call := &w.Work.Calls[i]
		line, _ := written(file, call.Addr)
		at, in := written(file, call.WaitsAt)
		roots[i] = Root{
			Go: call.Go, Line: line, Return: call.Return - w.Loop.Entry,
			Why: fmt.Sprintf("the loop %s%s of %s", call.WaitsFor, inLine(at), in),
		}
		if frames := file.Frames(call.Target); !call.Go && len(frames) > 0 {
			roots[i].Calls = frames[len(frames)-1].Function
		}
	}
	return roots
}

// written is where an address is in the source, also where the compiler has copied
// that into another function: a line, 0 if it is not known, of a function.
func written(file *gobin.File, addr uint64) (line int, function string) {
	frames := file.Frames(addr)
	if len(frames) == 0 {
		return 0, ""
	}
	return frames[0].Line, frames[0].Function
}

// workersOf are the goroutines that a function may begin which wait for work.
func (p *Plan) workersOf(f *Function) (all []ListedWorker) {
	for i := range p.Workers {
		if w := &p.Workers[i]; slices.Contains(w.By, f.Name) {
			all = append(all, ListedWorker{Function: w.Name, Roots: w.roots(p.File)})
		}
	}
	return all
}

// printWorkers prints the goroutines that wait for work.
func (p *Plan) printWorkers(b *strings.Builder) {
	if len(p.Workers) == 0 {
		return
	}
	b.WriteString("\ngoroutines that wait for work: each piece begins a trace, linked to the call whose go statement began them\n")
	for i := range p.Workers {
		w := &p.Workers[i]
		fmt.Fprintf(b, "  %s, begun by %s\n", w.Name, strings.Join(w.By, ", "))
		for _, note := range rootNotes(w.roots(p.File)) {
			fmt.Fprintf(b, "    %s\n", note)
		}
	}
}
