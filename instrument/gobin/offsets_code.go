package gobin

import (
	"errors"
	"fmt"
)

// The runtime's own code has the offsets in its instructions. These functions
// are in every executable of Go 1.18 to 1.27, are never inlined, and do so
// little with a g that each use of it can be accounted for:
//
//	printcreatedby(gp)      findfunc(gp.gopc); gp.goid != 1; gp.parentGoid
//	isSystemGoroutine(gp)   findfunc(gp.startpc)
//	systemstack             g.m, m.gsignal, m.g0, m.curg, in assembly
//	recovery(gp)            gp._panic and what it points to (from Go 1.22 on)
//	gorecover               getg()._panic and what it points to
//	newproc1                stores gopc, startpc, goid and parentGoid, and compares
//	                        p.goidcache with p.goidcacheend
//	releasep                g.m, m.p; from Go 1.22 on it is releasepNoTrace that does
//	(*_panic).nextDefer     compares _panic.sp with g._defer.sp (from Go 1.22 on)
//
// What does not look exactly like that is not known.

var errOtherCode = errors.New("is not as in the releases that are known")

// A reader takes offsets from the instructions of an architecture.
type reader[Inst any] struct {
	decode func(code []byte, addr uint64) ([]Inst, bool)
	// always are the functions that are always there, in the order in which each
	// may rely on those before it.
	always []reading[Inst]
	// recovered reads gorecover, without which a program may be.
	recovered func(o *Offsets, code []Inst) bool
	// What panics and `go` statements need and nothing else; 0 is not known.
	processor, panicSP func(o *Offsets, code []Inst) uint64
	stock, sigcode     func(code []Inst) uint64
}

// A reading takes offsets from the code of one function. False: it is not as in
// the releases that are known.
type reading[Inst any] struct {
	symbol string
	read   func(o *Offsets, code []Inst) bool
}

// offsetsFromCode reads the offsets from the instructions of the runtime.
func (f *File) offsetsFromCode() (Offsets, error) {
	if f.Arch == ARM64 {
		return readerARM64.offsets(f)
	}
	return readerAMD64.offsets(f)
}

func (r *reader[Inst]) offsets(f *File) (Offsets, error) {
	var o Offsets
	for _, step := range r.always {
		code, err := r.instructions(f, step.symbol)
		if err != nil {
			return Offsets{}, err
		}
		if !step.read(&o, code) {
			return Offsets{}, fmt.Errorf("%s %w", step.symbol, errOtherCode)
		}
	}
	// A program that never recovers may be without it.
	if code, err := r.instructions(f, "runtime.gorecover"); err == nil && !r.recovered(&o, code) {
		return Offsets{}, fmt.Errorf("runtime.gorecover %w", errOtherCode)
	}
	r.readDetails(f, &o)
	if !o.plausible() {
		return Offsets{}, fmt.Errorf("its runtime's fields are where none can be: %s", o)
	}
	return o, nil
}

// readDetails takes what panics and `go` statements need and nothing else: what
// looks different is left to the table, or unknown.
func (r *reader[Inst]) readDetails(f *File, o *Offsets) {
	code, err := r.instructions(f, "runtime.releasepNoTrace")
	if err != nil {
		code, err = r.instructions(f, "runtime.releasep")
	}
	if err == nil {
		o.P = r.processor(o, code)
	}
	if code, err = r.instructions(f, "runtime.newproc1"); err == nil {
		o.GoidCache = r.stock(code)
	}
	if code, err = r.instructions(f, "runtime.(*_panic).nextDefer"); err == nil {
		o.PanicSP = r.panicSP(o, code)
	} else if code, err = r.instructions(f, "runtime.recovery"); err == nil {
		o.Sigcode0 = r.sigcode(code)
	}
}

// instructions decodes all of the code of the one function of that name.
func (r *reader[Inst]) instructions(f *File, symbol string) ([]Inst, error) {
	var found *Function
	for i := range f.funcs {
		if fn := &f.funcs[i]; fn.Symbol == symbol && !fn.Wrapper {
			if found != nil {
				return nil, fmt.Errorf("there are two %s", symbol)
			}
			found = fn
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no function %s", symbol)
	}
	code, err := f.readAlloc(found.Entry, found.End-found.Entry)
	if err != nil {
		return nil, err
	}
	all, ok := r.decode(code, found.Entry)
	if !ok {
		return nil, fmt.Errorf("%s %w", symbol, errOtherCode)
	}
	return all, nil
}
