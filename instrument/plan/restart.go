package plan

import (
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

// A restart is where a call begins anew. When the stack has to grow, or the
// goroutine to yield, the prologue jumps to a block that stores the argument
// registers, calls runtime.morestack, loads them again and jumps to the first
// byte. The compiler stores only what the body uses (the entry block's
// OpArgIntReg values, cmd/compile/internal/ssa/expand_calls.go): an argument
// that is not used has any value by the time of the entry, and is read in front
// of the call of morestack instead, which hardly ever runs: at the call itself,
// or, on arm64, at the instruction that makes R3 the return address for
// morestack.
type restart struct {
	site Site
	// stored has a bit for each integer argument register that is brought through.
	stored uint16
}

// restartOf finds the block that the stack check of a prologue leads to; nil
// where there is no check, or no such block.
func (a *architecture) restartOf(fn *gobin.Function, ins []gobin.Instruction, pro prologue) *restart {
	if !pro.checked || pro.broken != "" {
		return nil
	}
	at, ok := slices.BinarySearchFunc(ins, ins[pro.jump].Target, func(in gobin.Instruction, addr uint64) int {
		return int(int64(in.Addr - addr))
	})
	if !ok {
		return nil
	}
	r := &restart{}
	for i := at; i < len(ins); i++ {
		in := &ins[i]
		switch {
		case in.Kind == gobin.Call || in.Kind == gobin.Plain && a.clobbers(in.Bytes):
			if in.Refused != "" {
				return nil
			}
			r.site = a.siteAt(fn, in)
			r.site.Restart = true
			return r
		case in.Kind == gobin.Plain || in.Kind == gobin.Nop:
			r.stored |= a.stores(in.Bytes)
		default:
			return nil
		}
	}
	return nil
}

// loses says whether an argument that is captured is in a register that is not
// brought through.
func (r *restart) loses(args *Part) bool { return args.Registers&^r.stored != 0 }
