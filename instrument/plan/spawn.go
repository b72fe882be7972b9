package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// A GoSite is a `go` statement of a function: the instruction that calls
// runtime.newproc. The probe there tells which call the new goroutine belongs to.
type GoSite struct {
	gobin.Function
	Site
	// Why says why this function's statements are looked at.
	Why GoReason
	// Workers says that statements of this function may begin some of Plan.Workers.
	Workers bool
}

// A GoReason is why the `go` statements of a function are looked at.
type GoReason string

// Reasons. No others are: a goroutine that is created elsewhere costs nothing.
const (
	GoSelected GoReason = "traced"
	// GoCalled: such as errgroup.(*Group).Go and sync.(*WaitGroup).Go.
	GoCalled GoReason = "called by a traced function"
	// GoWithin: a function literal, or a wrapper of the compiler's, in a traced
	// function, which may be a goroutine's first function.
	GoWithin GoReason = "within a traced function"
	// GoBegun: a goroutine's first function, or one that it calls: the first may
	// be a wrapper of the compiler's.
	GoBegun GoReason = "begun by one of these statements"
)

// goStatements finds the `go` statements of the functions that are traced, of
// those that they call directly, of the function literals in them, and, since a
// goroutine may make others without calling anything traced, of the functions
// that these statements begin goroutines with. The runtime's own are left alone,
// and so is all that must carry no probe. Nor do goroutines for connections belong to
// whoever has called the function that accepts these.
func (b *builder) goStatements(work *workFinder) {
	if !b.plan.Runtime.Offsets.GoStatements() {
		b.plan.Rootless = fmt.Sprintf("how goroutines get their numbers is not known for %s", b.file.GoVersion)
		return
	}
	finder := goFinder{builder: b, work: work, newproc: work.newproc, byEntry: work.byEntry, seen: make(map[int]bool), workers: make(map[int]*Worker)}
	for i, why := range b.creators() {
		if why != "" {
			finder.look(i, why, 0)
		}
	}
	finder.addWorkers()
	slices.SortFunc(b.plan.GoSites, func(x, y GoSite) int { return cmp.Compare(x.Addr, y.Addr) })
}

// creators says of each function why its `go` statements are looked at first; of most
// nothing.
func (b *builder) creators() []GoReason {
	creators := make([]GoReason, len(b.functions))
	traced := make(map[string]bool)
	called := make(map[uint64]bool)
	for i, p := range b.placements {
		// What main.main begins has no parent.
		if p == nil || p.reason != "" || b.functions[i].Symbol == "main.main" {
			continue
		}
		creators[i] = GoSelected
		traced[b.functions[i].Symbol] = true
		for _, entry := range p.leads {
			called[entry] = true
		}
	}
	for i := range b.functions {
		fn := &b.functions[i]
		switch {
		case creators[i] != "":
		case literalIn(fn.Symbol, traced):
			creators[i] = GoWithin
		case called[fn.Entry]:
			creators[i] = GoCalled
		}
	}
	return creators
}

// A goFinder follows `go` statements from function to function.
type goFinder struct {
	*builder
	work    *workFinder
	newproc map[uint64]bool
	byEntry map[uint64]int
	seen    map[int]bool
	workers map[int]*Worker // nil: it is none
}

// look adds the `go` statements of a function, and those of the functions that
// it begins goroutines with, so many steps away from a traced one.
func (f *goFinder) look(i int, why GoReason, steps int) {
	const far = 4
	fn := &f.functions[i]
	if f.seen[i] || steps > far || refuseName(fn) != "" || ofRuntime(fn) {
		return
	}
	f.seen[i] = true
	if !f.mayCall(i, f.newproc) {
		return
	}
	body, err := f.file.Body(fn)
	if err != nil || body.Undecoded != 0 {
		return
	}
	var accepting map[uint64]bool
	if why != GoSelected {
		accepting = f.work.accepting(fn)
	}
	first := len(f.plan.GoSites)
	for n := range body.Instructions {
		in := &body.Instructions[n]
		if in.Kind != gobin.Call || !f.newproc[in.Target] || in.Refused != "" || accepting[in.Addr] {
			continue
		}
		offset, ok := f.file.Offset(in.Addr)
		if !ok {
			continue
		}
		site := f.arch.siteAt(fn, in)
		site.Offset = offset
		f.plan.GoSites = append(f.plan.GoSites, GoSite{Function: *fn, Site: site, Why: why})
	}
	sites := f.plan.GoSites[first:]
	if len(sites) == 0 {
		return
	}
	begun := f.begun(body.Instructions)
	for _, begun := range begun {
		w := f.worker(begun)
		if w == nil {
			continue
		}
		if !slices.Contains(w.By, fn.Name) {
			w.By = append(w.By, fn.Name)
		}
		for n := range sites {
			sites[n].Workers = true
		}
	}
	for _, begun := range begun {
		f.look(begun, GoBegun, steps+1)
		for _, called := range f.calledBy(&f.functions[begun]) {
			f.look(called, GoBegun, steps+1)
		}
	}
}

// begun are the functions that a body may begin goroutines with: those whose
// code it puts into a closure, and the function values that are handed to
// runtime.newproc as they are.
func (f *goFinder) begun(ins []gobin.Instruction) (begun []int) {
	value := uint64(0) // the address that was loaded last
	for n := range ins {
		if addr, ok := f.arch.refers(ins, n); ok {
			value = addr
			if i, ok := f.byEntry[addr]; ok {
				begun = append(begun, i)
			}
		}
		if ins[n].Kind == gobin.Call && f.newproc[ins[n].Target] && value != 0 {
			if entry, err := f.file.FunctionValue(value); err == nil {
				if i, ok := f.byEntry[entry]; ok {
					begun = append(begun, i)
				}
			}
		}
	}
	return begun
}

// calledBy are the functions that another one calls directly.
func (f *goFinder) calledBy(fn *gobin.Function) (called []int) {
	body, err := f.file.Body(fn)
	if err != nil {
		return nil
	}
	for n := range body.Instructions {
		if i, ok := f.byEntry[body.Instructions[n].Target]; ok && body.Instructions[n].Kind == gobin.Call {
			called = append(called, i)
		}
	}
	return called
}

// literalIn says whether a function is a literal or a wrapper in one of others, by
// its name: `main.serve.func1.2`, `main.serve.gowrap1`.
func literalIn(symbol string, others map[string]bool) bool {
	for {
		dot := strings.LastIndexByte(symbol, '.')
		if dot < 0 {
			return false
		}
		last := symbol[dot+1:]
		if !digits(last) && !numbered(last, "func") && !numbered(last, "gowrap") {
			return false
		}
		if symbol = symbol[:dot]; others[symbol] {
			return true
		}
	}
}
