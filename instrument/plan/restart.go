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
// that is not used has any value by the time of the entry, and is read at the
// call of morestack instead, which hardly ever runs.
type restart struct {
	site Site
	// stored has a bit for each integer argument register that is brought through.
	stored uint16
}

// restartOf finds the block that the stack check of a prologue leads to; nil
// where there is no check, or no such block.
func restartOf(fn *gobin.Function, ins []gobin.Instruction, pro prologue) *restart {
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
		switch in := &ins[i]; in.Kind {
		case gobin.Plain, gobin.Nop:
			if register, ok := storesArgument(in.Bytes); ok {
				r.stored |= 1 << register
			}
		case gobin.Call:
			if in.Refused != "" {
				return nil
			}
			r.site = siteAt(fn, in)
			r.site.Restart = true
			return r
		default:
			return nil
		}
	}
	return nil
}

// loses says whether an argument that is captured is in a register that is not
// brought through.
func (r *restart) loses(args []Capture) bool {
	for i := range args {
		for w := range args[i].words() {
			if register := args[i].Words[w].Register; register >= 0 && r.stored&(1<<register) == 0 {
				return true
			}
		}
	}
	return false
}

// words is how many words of a value are read.
func (c *Capture) words() int {
	switch c.Kind {
	case CaptureNone:
		return 0
	case CaptureString, CaptureError:
		return 2
	}
	return 1
}

// storesArgument recognises MOV of a whole or partial integer argument register
// to n(SP), and says which it is in the order of ABIInternal.
func storesArgument(b []byte) (register int, ok bool) {
	if len(b) > 0 && b[0] == 0x66 {
		b = b[1:]
	}
	high := byte(0)
	if len(b) > 0 && b[0]&0xf0 == 0x40 {
		high = b[0] >> 2 & 1 << 3 // REX.R
		b = b[1:]
	}
	if len(b) < 3 || b[0] != 0x88 && b[0] != 0x89 || b[1]&7 != 4 || b[1]>>6 == 3 || b[2] != 0x24 {
		return 0, false
	}
	register = slices.Index([]byte{0, 3, 1, 7, 6, 8, 9, 10, 11}, high|b[1]>>3&7)
	return register, register >= 0
}
