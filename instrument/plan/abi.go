package plan

import "github.com/uspan/uspan/instrument/gobin"

// registersMax is how many integer registers any architecture has.
const registersMax = 16

// stackBase is where stack-assigned arguments begin, relative to the address of
// the return address; on arm64, to that of the word that the callee may save it
// in.
const stackBase = wordSize

// An assignment is where the calling convention puts a parameter or a result.
type assignment struct {
	// unknown says that it cannot be told: its type, or that of a parameter
	// before it, is not known.
	unknown bool
	// registers says that it is in registers, beginning with these indexes into
	// the sequences of integer and floating point registers. Else it lies on
	// the stack at offset, relative to the address of the return address.
	registers      bool
	integer, float int
	offset         int64
}

// assign applies the calling convention to a signature: ABIInternal, as
// abi-internal.md describes it and cmd/compile/internal/abi implements it, or
// ABI0, which has everything on the stack. The dictionary of a shape-stenciled
// body occupies a register behind the receiver.
//
// receiver says that the first parameter is one; it matters only where there is
// a dictionary. size is that of the argument area in bytes, as _func.args has
// it: stack-assigned values, then room to spill those in registers; negative
// where it is not known.
func (arch *architecture) assign(sig *gobin.Signature, receiver, abi0 bool) (params, results []assignment, size int64) {
	a := assigner{arch: arch, onStack: abi0, stack: stackBase}
	receiver = receiver && !sig.DictionaryFirst
	if sig.Dictionary && len(sig.Params) == 0 {
		a.assign(dictionary)
	}
	for i := range sig.Params {
		if sig.Dictionary && i == 0 && !receiver {
			a.assign(dictionary)
		}
		params = append(params, a.assign(sig.Params[i].Type))
		if sig.Dictionary && i == 0 && receiver {
			a.assign(dictionary)
		}
	}
	a.stack = align(a.stack, wordSize)
	spill := a.spill // results in registers have no place to spill
	a.integer, a.float = 0, 0
	// A parameter of unknown type hides where stack-assigned results lie, and
	// nothing else of them.
	a.unknownRegisters, a.unknownStack = false, a.unknownRegisters || a.unknownStack
	for i := range sig.Results {
		results = append(results, a.assign(sig.Results[i].Type))
	}
	if a.unknownRegisters || a.unknownStack {
		return params, results, -1
	}
	return params, results, align(a.stack, wordSize) - stackBase + align(spill, wordSize)
}

var dictionary = &gobin.Type{Kind: gobin.Pointer, Size: wordSize, Align: wordSize}

// An assigner is the state of abi-internal.md's algorithm: the registers used so
// far, and the ends of the stack-assigned values and of the spill area.
type assigner struct {
	arch                           *architecture
	onStack                        bool
	integer, float                 int
	stack, spill                   int64
	unknownRegisters, unknownStack bool
}

func (a *assigner) assign(t *gobin.Type) assignment {
	if t == nil || t.Kind == gobin.Invalid || t.Size < 0 {
		a.unknownRegisters, a.unknownStack = true, true
		return assignment{unknown: true}
	}
	// A value without a size is stack-assigned; so is one that does not fit
	// wholly into what is left of the registers. Smaller ones behind it may fit.
	if t.Size > 0 && !a.onStack {
		integers, floats, ok := registersOf(t)
		if ok && a.unknownRegisters {
			a.unknownStack = true
			return assignment{unknown: true}
		}
		if ok && a.integer+integers <= len(a.arch.integers) && a.float+floats <= a.arch.floats {
			at := assignment{registers: true, integer: a.integer, float: a.float}
			a.integer += integers
			a.float += floats
			a.spill = align(a.spill, t.Align) + t.Size
			return at
		}
	}
	if a.unknownStack {
		return assignment{unknown: true}
	}
	at := assignment{offset: align(a.stack, t.Align)}
	a.stack = at.offset + t.Size
	return at
}

// registersOf counts the registers that a value of a type takes; ok is false
// where it cannot be in registers at all: an array of more than one element.
func registersOf(t *gobin.Type) (integers, floats int, ok bool) {
	switch t.Kind {
	case gobin.Bool, gobin.Int, gobin.Uint, gobin.Pointer, gobin.Map, gobin.Chan, gobin.Func:
		return 1, 0, true
	case gobin.Float:
		return 0, 1, true
	case gobin.Complex:
		return 0, 2, true
	case gobin.String, gobin.Interface, gobin.EmptyInterface:
		return 2, 0, true
	case gobin.Slice:
		return 3, 0, true
	case gobin.Array:
		switch {
		case t.Len == 0:
			return 0, 0, true
		case t.Len == 1 && t.Elem != nil:
			return registersOf(t.Elem)
		}
		return 0, 0, false
	case gobin.Struct:
		for i := range t.Fields {
			if t.Fields[i].Type == nil {
				return 0, 0, false
			}
			n, f, ok := registersOf(t.Fields[i].Type)
			if !ok {
				return 0, 0, false
			}
			integers, floats = integers+n, floats+f
		}
		return integers, floats, true
	}
	return 0, 0, false
}

func align(n, to int64) int64 {
	if to <= 1 {
		return n
	}
	return (n + to - 1) / to * to
}
