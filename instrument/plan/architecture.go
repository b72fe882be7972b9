package plan

import "github.com/uspan/uspan/instrument/gobin"

// An architecture is what placing probes and finding values has to know of the
// processor, and of what Go makes of it.
type architecture struct {
	// integers names the registers that carry integer arguments and results in
	// ABIInternal, in order; floats is how many carry floating point ones (Go's
	// src/cmd/compile/abi-internal.md).
	integers []string
	floats   int
	// g is where code finds its goroutine, for people. looseG says that assembly
	// and ABI wrappers do not have it in its register: it is read from
	// thread-local storage there.
	g      func(gobin.Runtime) string
	looseG bool
	// prologue recognises how a body begins.
	prologue func([]gobin.Instruction) prologue
	// stores is the set of integer argument registers that an instruction stores
	// in front of the call of morestack, a bit each. clobbers says that it is the
	// first there that overwrites one.
	stores   func(code []byte) uint16
	clobbers func(code []byte) bool
	// misread says that an instruction was not decoded as the processor does.
	misread func(*gobin.Instruction) bool
	// refers says which address in the executable the instruction at n loads, if
	// it is one that does.
	refers func(ins []gobin.Instruction, n int) (addr uint64, ok bool)
	// startDepth is the depth of the return address of a goroutine's first
	// function (gostartcall and newproc1 in src/runtime); pushed is what a call
	// pushes, both in bytes.
	startDepth, pushed uint32
	// firstMethod says whether the indirect call at n is one of an interface's
	// first method.
	firstMethod func(ins []gobin.Instruction, n int) bool
	// mnemonic names the instruction of a site, for people.
	mnemonic func(*Site) string
}

func architectureOf(f *gobin.File) *architecture {
	if f.Arch == gobin.ARM64 {
		return &arm64
	}
	return &amd64
}

// calleeDepth is how much deeper than a function's own return address that of a
// call lies which it makes, by how far the stack pointer is below its own there.
func (a *architecture) calleeDepth(delta int32) uint32 { return uint32(delta) + a.pushed }
