package plan

import (
	"cmp"
	"errors"
	"fmt"
	"go/version"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/uspan/uspan/instrument/gobin"
)

// Build chooses the functions that the rules name and places their probes. A
// function that cannot be traced is in Plan.Skipped with its reason; it is an
// error only where a pattern, or the default selection, names nothing else: a
// *PatternError for a pattern.
//
// It reads the code of chosen functions only, on all processors, and the
// signatures only where the rules ask for values.
func Build(f *gobin.File, rules Rules) (*Plan, error) {
	// It may have to decompress the DWARF, which takes as long as all the rest.
	var rt gobin.Runtime
	var rtErr error
	var reading sync.WaitGroup
	reading.Go(func() { rt, rtErr = f.Runtime() })
	defer reading.Wait()
	functions := f.Functions()
	declared, err := declare(&rules)
	if err != nil {
		return nil, err
	}
	secrets, err := secretsOf(&rules.Secrets)
	if err != nil {
		return nil, err
	}
	var inlinings map[string]int
	if rules.Look {
		inlinings = f.Inlinings()
		functions = withInlined(functions, inlinings)
	}
	sel, err := choose(f, functions, &rules)
	if err != nil {
		return nil, err
	}
	b := builder{
		file: f, arch: architectureOf(f), functions: functions, sel: sel, rules: rules,
		plan:       &Plan{File: f, Omitted: sel.omitted, secrets: secrets},
		placements: make([]*placement, len(functions)),
		layouter:   newLayouter(&rules, secrets),
		declared:   declared,
		compiler:   newCompiler(),
	}
	b.layouter.held = b.held
	if err := b.readExpressions(); err != nil {
		return nil, err
	}
	b.placeAll()
	if reading.Wait(); rtErr != nil {
		return nil, fmt.Errorf("plan %s: %w", f.Path, rtErr)
	}
	b.plan.Runtime = rt
	b.leaveOut()
	if err := b.check(); err != nil && !rules.Look {
		return nil, err
	}
	b.plan.Unmatched = rules.unmatched(f, functions)
	if err := b.finish(); err != nil {
		return nil, err
	}
	b.unwinding()
	if rules.Durations {
		return b.plan, nil
	}
	if err := b.checkExpressions(); err != nil {
		return nil, err
	}
	if err := b.roots(); err != nil {
		return nil, err
	}
	b.goStatements(b.work())
	if rules.Look {
		b.inlined(inlinings)
		b.plan.builder = nil // which holds twice as much as the plan
	}
	return b.plan, nil
}

// A builder carries one Build from the selection to the plan.
type builder struct {
	file         *gobin.File
	arch         *architecture
	functions    []gobin.Function
	sel          *selection
	rules        Rules
	plan         *Plan
	placements   []*placement // by index of the function; nil: it was not chosen, or is left out
	layouter     *layouter
	compiler     *compiler
	captureRules []*captureRule
	declared     *declarations
	twins        map[string]int      // functions of a name; from the first wrapper on
	literalsOf   map[string][]int    // see literals
	runtimeTypes []gobin.RuntimeType // from the first type assertion on
}

// placeAll places the probes of all chosen functions.
func (b *builder) placeAll() {
	forks := make(map[uint64]bool)
	for i := range b.functions {
		if forking(&b.functions[i]) {
			forks[b.functions[i].Entry] = true
		}
	}
	placed := make([]placement, len(b.sel.chosen))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(placed)) {
		workers.Go(func() {
			var body gobin.Body
			for {
				n := int(next.Add(1)) - 1
				if n >= len(placed) {
					return
				}
				placed[n] = b.placeOne(&b.functions[b.sel.chosen[n]], &body, forks)
			}
		})
	}
	workers.Wait()
	for n, i := range b.sel.chosen {
		b.placements[i] = &placed[n]
	}
}

// placeOne places the probes of one function; body is memory to decode it in.
func (b *builder) placeOne(fn *gobin.Function, body *gobin.Body, forks map[uint64]bool) placement {
	if fn.End == 0 {
		return refused("%s", becauseInlined)
	}
	if reason := refuseName(fn); reason != "" {
		return placement{reason: reason}
	}
	if err := b.file.Decode(fn, body); err != nil {
		return refused("its code cannot be read: %v", err)
	}
	p := b.arch.place(fn, body, forks, b.file.Stack(fn).Delta)
	for _, sites := range [][]Site{p.entries, p.exits} {
		for i := range sites {
			s := &sites[i]
			offset, ok := b.file.Offset(s.Addr)
			if !ok {
				return refused("its code is not in the file")
			}
			s.Offset = offset
		}
	}
	return p
}

// leaveOut drops the placements that would count a call twice, and by default
// those of functions that take a few nanoseconds.
//
// A wrapper stands for the function that it leads to: where that one is traced,
// each call through the wrapper is seen there. Where it is not (its code was
// refused, or the compiler has copied it into the wrapper), the wrapper is what
// a call of that name executes.
func (b *builder) leaveOut() {
	byEntry := make(map[uint64]int, len(b.sel.chosen))
	names := make(map[string]bool) // of methods that are traced
	for _, i := range b.sel.chosen {
		fn, p := &b.functions[i], b.placements[i]
		byEntry[fn.Entry] = i
		if p.reason == "" && !fn.Wrapper {
			names[base(fn)] = true
		}
	}
	var drop []int
	for _, i := range b.sel.chosen {
		fn, p := &b.functions[i], b.placements[i]
		switch {
		case fn.Wrapper && made(fn).text == "":
			led, covered := false, p.indirect && names[base(fn)]
			for _, entry := range p.leads {
				to, ok := byEntry[entry]
				if !ok || to == i || base(&b.functions[to]) != base(fn) {
					continue
				}
				led = true
				covered = covered || b.placements[to].reason == ""
			}
			// Wrappers are refused, too, but then nobody asked for them.
			if covered || p.reason != "" || b.sel.byDefault && !led {
				b.sel.omitted["wrappers of methods and of calling conventions"]++
				drop = append(drop, i)
			}
		case b.sel.byDefault && p.reason == "" && !p.framed && !p.loops:
			b.sel.omitted["functions without a frame and without a loop (a few nanoseconds long)"]++
			drop = append(drop, i)
		}
	}
	for _, i := range drop {
		b.placements[i] = nil
	}
}

// check makes an error of a pattern, or of a default selection, that leads to
// no probe at all.
func (b *builder) check() error {
	why := func(i int) string {
		if p := b.placements[i]; p != nil {
			return p.reason
		}
		return "made by the compiler as a wrapper of a function that is traced, or that cannot be"
	}
	for j := range b.sel.patterns {
		c := &b.sel.patterns[j]
		if len(c.functions)+len(c.omitted) == 0 {
			continue // taken away by others
		}
		ok := false
		for _, i := range c.functions {
			p := b.placements[i]
			ok = ok || p != nil && p.reason == ""
		}
		if !ok {
			return c.untraceable(b.functions, why)
		}
	}
	if b.traced() > 0 {
		return nil
	}
	if b.sel.away && len(b.sel.chosen) == 0 {
		return errors.New("the patterns that take away leave no function")
	}
	return errors.New("the main module has no function that can be traced and is worth it: choose functions with -f, such as -f 'net/http.*'")
}

// traced is how many functions are.
func (b *builder) traced() (n int) {
	for _, p := range b.placements {
		if p != nil && p.reason == "" {
			n++
		}
	}
	return n
}

// finish writes the plan in the order of the functions' entries.
func (b *builder) finish() error {
	b.plan.Functions = make([]Function, 0, b.traced())
	for read := range ahead(b.read) {
		p, fn := b.placements[read.function], detached(b.functions[read.function])
		if p.reason != "" {
			b.plan.Skipped = append(b.plan.Skipped, Skipped{Function: fn, Reason: p.reason})
			continue
		}
		b.plan.Functions = append(b.plan.Functions, Function{Function: fn, Entries: p.entries, Exits: p.exits, Adopts: fn.Symbol != "main.main"})
		out := &b.plan.Functions[len(b.plan.Functions)-1]
		out.File, out.Line = b.file.Line(&fn)
		if b.rules.Durations {
			if err := b.failure(out, read); err != nil {
				return err
			}
		} else if expressions := b.expressionsOf(&fn); b.rules.Values || len(expressions) > 0 {
			if err := b.values(out, expressions, read); err != nil {
				return err
			}
			b.restart(out, p.restart)
		}
	}
	b.plan.Steps = b.compiler.steps
	b.plan.builder = b
	return nil
}

// A description is what DWARF says of a function, or why it says nothing.
type description struct {
	function int // its index
	sig      *gobin.Signature
	err      error
}

// read yields the functions that were placed, each with the description if something
// is captured of it.
func (b *builder) read(yield func(description) bool) {
	for _, i := range b.sel.chosen {
		p, fn := b.placements[i], &b.functions[i]
		if p == nil {
			continue
		}
		read := description{function: i}
		captured := b.rules.Durations || b.rules.Values ||
			slices.ContainsFunc(b.captureRules, func(rule *captureRule) bool { return rule.match(fn) })
		if captured && p.reason == "" {
			read.sig, read.err = b.file.Signature(fn)
		}
		if !yield(read) {
			return
		}
	}
}

// detached is a function that does not keep the names of all others in memory.
func detached(fn gobin.Function) gobin.Function {
	symbol := strings.Clone(fn.Symbol)
	same := func(text string) string { // mostly the symbol or its beginning
		if strings.HasPrefix(symbol, text) {
			return symbol[:len(text)]
		}
		return strings.Clone(text)
	}
	fn.Symbol, fn.Name, fn.Package = symbol, same(fn.Name), same(fn.Package)
	return fn
}

// restart adds the site where arguments are read that do not come through a
// growth of the stack.
func (b *builder) restart(out *Function, r *restart) {
	if r == nil || !r.loses(&out.Args) {
		return
	}
	offset, ok := b.file.Offset(r.site.Addr)
	if !ok {
		return
	}
	site := r.site
	site.Offset = offset
	out.Entries = append(out.Entries, site)
}

// converts says whether a wrapper leads from one calling convention to the other:
// the function that it leads to has the same name, and DWARF does not tell which
// of the two follows which.
func (b *builder) converts(fn *gobin.Function) bool {
	if b.twins == nil {
		b.twins = make(map[string]int, len(b.functions))
		for i := range b.functions {
			b.twins[b.functions[i].Symbol]++
		}
	}
	return b.twins[fn.Symbol] > 1
}

// values reads the signature of a function and compiles its captures: what
// expressions say, or else all of it.
func (b *builder) values(out *Function, expressions []*ruled, read description) error {
	sig, err := b.signature(out, read)
	if err != nil {
		return err
	}
	if sig == nil {
		unvalued(expressions, &out.Function, cmp.Or(out.Unvalued, b.plan.Unvalued))
		return nil
	}
	out.Args, out.Results = b.layouter.capture(b.arch, &out.Function, sig)
	out.Values = true
	if len(expressions) > 0 {
		out.declared = [2][]Capture{out.Args.Captures, out.Results.Captures}
		out.Args, out.Results = b.layouter.explicit(b.arch, &out.Function, sig, expressions)
	}
	out.Args.compile(b.compiler)
	out.Results.compile(b.compiler)
	return nil
}

// signature is that of a function: as DWARF has it, else as it is declared. It is
// nil where there is neither, and then Unvalued is why, of the function or of the
// plan.
func (b *builder) signature(out *Function, read description) (*gobin.Signature, error) {
	if out.Wrapper && b.converts(&out.Function) {
		out.Unvalued = "a wrapper between calling conventions"
		return nil, nil
	}
	sig, why := b.described(out, read)
	declared := b.declared.of(&out.Function)
	if declared == nil {
		out.Unvalued = why
		return sig, nil
	}
	laid, err := b.declared.lay(declared, b.file)
	switch {
	case err != nil:
		return nil, err
	case sig == nil:
		out.Declared = true
		return laid, b.fit(out, declared, laid)
	}
	if difference := differs(laid, sig); difference != "" {
		b.plan.Conflicts = append(b.plan.Conflicts, fmt.Sprintf("%s: DWARF says of %s: %s; that is what counts",
			declared.text.at(0), out.Name, difference))
	}
	return sig, nil
}

// described is the signature that DWARF has of a function, or nil and why it has none:
// where there is no DWARF, that is Plan.Unvalued.
func (b *builder) described(out *Function, read description) (sig *gobin.Signature, why string) {
	err := read.err
	switch {
	case b.plan.Unvalued != "":
		return nil, ""
	case errors.Is(err, gobin.ErrNoDWARF):
		b.plan.Unvalued = "the executable has no DWARF (built with -ldflags=-w or -s, or stripped)"
		if problem := b.file.DebugProblem(); problem != nil {
			b.plan.Unvalued += "; " + problem.Error()
		}
		return nil, ""
	case err != nil && out.Assembly:
		return nil, "DWARF does not describe assembly"
	case err != nil:
		return nil, err.Error()
	}
	if why := b.partial(out, read.sig); why != "" {
		return nil, why
	}
	return read.sig, ""
}

// partial says why a signature as DWARF has it is not whole, or nothing. It has to
// fill the function's argument area exactly: Go 1.21 leaves unnamed parameters out
// of DWARF, and then nothing is where the rest says.
func (b *builder) partial(out *Function, sig *gobin.Signature) string {
	area, size := b.area(out), b.size(out, sig)
	switch {
	case out.Assembly && len(sig.Params)+len(sig.Results) == 0 && area != 0:
		return "DWARF does not describe the arguments and results of assembly: the configuration file can declare them"
	case area < 0 || size < 0 || size == int64(area):
		return ""
	case version.IsValid(b.file.GoVersion) && version.Compare(b.file.GoVersion, "go1.22") < 0:
		return "DWARF does not describe the whole signature (unnamed parameters, before Go 1.22)"
	}
	return fmt.Sprintf("DWARF does not describe the whole signature: what it has takes %d bytes of %d", size, area)
}

// area is the size of a function's argument area in whole words, negative where it
// is not known. (Assembly says where the last result ends.)
func (b *builder) area(out *Function) int {
	if area, known := b.file.ArgsSize(&out.Function); known {
		return (area + wordSize - 1) &^ (wordSize - 1)
	}
	return -1
}
