package gobin

import (
	"fmt"
	"sort"
)

// Body decodes the code of fn.
func (f *File) Body(fn *Function) (*Body, error) {
	body := &Body{}
	return body, f.Decode(fn, body)
}

// Decode decodes the code of fn into body, whose memory it uses again. The bytes
// of the instructions must not be modified, and keep more in memory than
// themselves.
func (f *File) Decode(fn *Function, body *Body) error {
	if fn.End < fn.Entry {
		return fmt.Errorf("decode %s: it ends before it begins", fn.Symbol)
	}
	code, err := f.view(fn.Entry, fn.End-fn.Entry)
	if err != nil {
		return fmt.Errorf("decode %s: %w", fn.Symbol, err)
	}
	if f.Arch == ARM64 {
		body.decodeARM64(code, fn.Entry)
		body.Sequence = f.sequence(fn, body.Instructions)
	} else {
		body.decodeAMD64(code, fn.Entry)
	}
	return nil
}

// sequence is how many instructions at the beginning of fn are one to the runtime.
func (f *File) sequence(fn *Function, ins []Instruction) int {
	const restart1, restart2 = -3, -4 // abi.UnsafePointRestart1 and 2
	r, err := f.record(fn)
	if err != nil || r.unsafe == 0 {
		return 0
	}
	runs, err := f.runs(fn, r.unsafe)
	if err != nil || len(runs) == 0 || runs[0].value != restart1 && runs[0].value != restart2 {
		return 0
	}
	return sort.Search(len(ins), func(i int) bool { return ins[i].Addr >= runs[0].end })
}

// distrust takes back what cannot be right: where a jump leads into the middle
// of an instruction, or to a constant, one of the two was not decoded as the
// processor does.
func (body *Body) distrust(end uint64) {
	if len(body.Instructions) == 0 {
		return
	}
	entry, first := body.Instructions[0].Addr, len(body.Instructions)
	for _, in := range body.Instructions {
		if first == 0 {
			break
		}
		if in.Kind != Jump && in.Kind != CondJump || in.Target < entry || in.Target >= end {
			continue
		}
		i := sort.Search(first, func(i int) bool { return body.Instructions[i].Addr > in.Target }) - 1
		at := body.Instructions[i]
		if at.Addr != in.Target && in.Target-at.Addr < uint64(len(at.Bytes)) || at.Kind == Data {
			first = i
		}
	}
	if first < len(body.Instructions) {
		body.Undecoded = body.Instructions[first].Addr
		body.Instructions = body.Instructions[:first]
	}
}
