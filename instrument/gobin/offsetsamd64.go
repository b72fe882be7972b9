package gobin

import (
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// readerAMD64 reads offsets out of code for amd64.
var readerAMD64 = reader[x86asm.Inst]{
	decode: decodeAll,
	always: []reading[x86asm.Inst]{
		{"runtime.printcreatedby", readCreation},
		{"runtime.isSystemGoroutine", readStart},
		{"runtime.systemstack", readThread},
		{"runtime.recovery", readPanic},
		{"runtime.newproc1", checkCreation},
	},
	recovered: readRecover,
	processor: readProcessor,
	stock:     readStock,
	panicSP:   readPanicSP,
	sigcode:   readSigcode,
}

func decodeAll(code []byte, _ uint64) (all []x86asm.Inst, ok bool) {
	for len(code) > 0 {
		inst, err := x86asm.Decode(code, 64)
		if err != nil || inst.Op == 0 || inst.Len > len(code) {
			return nil, false
		}
		all = append(all, inst)
		code = code[inst.Len:]
	}
	return all, true
}

// readCreation takes gopc, goid and, where there is one, parentGoid from
// printcreatedby.
func readCreation(o *Offsets, code []x86asm.Inst) bool {
	uses := usesOf(code, x86asm.RAX)
	if len(uses) != 2 && len(uses) != 3 || !uses[0].loads() || !uses[1].compares(1) {
		return false
	}
	o.Gopc, o.Goid = uses[0].offset, uses[1].offset
	if len(uses) == 3 {
		if !uses[2].loads() || uses[2].offset != o.Gopc-8 {
			return false
		}
		o.ParentGoid = uses[2].offset
	}
	return true
}

// readStart takes startpc from isSystemGoroutine: what it looks up first.
func readStart(o *Offsets, code []x86asm.Inst) bool {
	uses := usesOf(code, x86asm.RAX)
	if len(uses) == 0 || !uses[0].loads() || uses[0].into != x86asm.RAX || uses[0].offset != o.Gopc+16 {
		return false
	}
	o.Startpc = uses[0].offset
	for _, next := range code[uses[0].at+1:] {
		if next.Op == x86asm.CALL {
			return true // of findfunc(AX)
		}
		if next.Op != x86asm.NOP {
			return false
		}
	}
	return false
}

// readThread takes m and curg from systemstack, which compares g with each of
// the goroutines that a thread has: gsignal, g0, which comes first, and curg.
//
//	MOVQ m(AX), BX; CMPQ AX, gsignal(BX); JEQ; MOVQ 0(BX), DX; CMPQ AX, DX; JEQ; CMPQ AX, curg(BX); JNE
func readThread(o *Offsets, code []x86asm.Inst) bool {
	for i, inst := range code {
		m, ok := memory(inst.Args[1])
		if inst.Op != x86asm.MOV || !ok || m.Base != x86asm.RAX || len(code) < i+8 {
			continue
		}
		g, thread := x86asm.RAX, inst.Args[0]
		gsignal, ok1 := comparesPointer(code[i+1], g, thread)
		g0, ok2 := memory(code[i+3].Args[1])
		curg, ok3 := comparesPointer(code[i+6], g, thread)
		if !ok1 || !ok2 || !ok3 ||
			code[i+2].Op != x86asm.JE || code[i+5].Op != x86asm.JE || code[i+7].Op != x86asm.JNE ||
			code[i+3].Op != x86asm.MOV || x86asm.Arg(g0.Base) != thread || g0.Disp != 0 ||
			code[i+4].Op != x86asm.CMP || code[i+4].Args[0] != x86asm.Arg(g) || code[i+4].Args[1] != code[i+3].Args[0] ||
			gsignal == curg || gsignal == 0 {
			return false
		}
		o.M, o.Curg = uint64(m.Disp), curg
		return true
	}
	return false
}

// comparesPointer recognises CMPQ g, off(base).
func comparesPointer(inst x86asm.Inst, g x86asm.Reg, base x86asm.Arg) (offset uint64, ok bool) {
	m, ok := memory(inst.Args[1])
	if inst.Op != x86asm.CMP || inst.Args[0] != x86asm.Arg(g) || !ok || x86asm.Arg(m.Base) != base || m.Disp < 0 {
		return 0, false
	}
	return uint64(m.Disp), true
}

// readPanic takes _panic from recovery, which begins with following it. Before
// Go 1.22 it did not: it begins with numbers, and nothing is learned.
func readPanic(o *Offsets, code []x86asm.Inst) bool {
	uses := usesOf(code, x86asm.RAX)
	if len(uses) == 0 || !uses[0].loads() {
		return false
	}
	if follows(code[uses[0].at+1:], uses[0].into) {
		o.Panic = uses[0].offset
	}
	return true
}

// readRecover takes _panic from gorecover, which follows it where it is not nil.
func readRecover(o *Offsets, code []x86asm.Inst) bool {
	uses := usesOf(code, x86asm.R14)
	if len(uses) != 1 || !uses[0].loads() || o.Panic != 0 && o.Panic != uses[0].offset {
		return false
	}
	o.Panic = uses[0].offset
	return true
}

// readProcessor takes p from releasep, which refuses to give up what is nil:
//
//	MOVQ m(R14), CX; MOVQ p(CX), AX; TESTQ AX, AX; JEQ
func readProcessor(o *Offsets, code []x86asm.Inst) uint64 {
	code = withoutNops(code)
	uses := usesOf(code, x86asm.R14)
	if len(uses) == 0 || !uses[0].loads() || uses[0].offset != o.M || len(code) < uses[0].at+4 {
		return 0
	}
	next := code[uses[0].at+1:]
	p, ok := memory(next[0].Args[1])
	if next[0].Op != x86asm.MOV || !ok || p.Base != uses[0].into || p.Disp <= 0 ||
		!isNil(next[1:], next[0].Args[0]) {
		return 0
	}
	return uint64(p.Disp)
}

// isNil recognises TESTQ R, R; JEQ.
func isNil(code []x86asm.Inst, register x86asm.Arg) bool {
	return code[0].Op == x86asm.TEST && code[0].Args[0] == register && code[0].Args[1] == register && code[1].Op == x86asm.JE
}

// readStock takes goidcache from newproc1, which compares it with goidcacheend,
// the word behind it, and writes both where they are the same:
//
//	MOVQ goidcache(R8), R10; CMPQ goidcacheend(R8), R10; JNE
func readStock(code []x86asm.Inst) (stock uint64) {
	code = withoutNops(code)
	stores := make(map[uint64]int)
	for i, inst := range code {
		if m, ok := memory(inst.Args[0]); ok && inst.Op == x86asm.MOV && inst.DataSize == 64 && m.Disp > 0 {
			stores[uint64(m.Disp)]++
		}
		first, ok := memory(inst.Args[1])
		if !ok || inst.Op != x86asm.MOV || inst.DataSize != 64 || len(code) < i+3 || code[i+2].Op != x86asm.JNE {
			continue
		}
		second, ok := memory(code[i+1].Args[0])
		if !ok || code[i+1].Op != x86asm.CMP || code[i+1].Args[1] != inst.Args[0] || second.Base != first.Base || second.Disp != first.Disp+8 {
			continue
		}
		if stock != 0 || first.Disp <= 0 {
			return 0
		}
		stock = uint64(first.Disp)
	}
	if stores[stock] == 0 || stores[stock+8] == 0 {
		return 0
	}
	return stock
}

// readPanicSP takes sp from nextDefer, which looks whether the goroutine's first
// deferred function is of the frame that the panic has come to:
//
//	MOVQ g._defer, CX; TESTQ CX, CX; JEQ; MOVQ sp(AX), BX; CMPQ 8(CX), BX; JNE
func readPanicSP(o *Offsets, code []x86asm.Inst) (sp uint64) {
	code = withoutNops(code)
	for i := 0; i+6 <= len(code); i++ {
		deferred, ok1 := memory(code[i].Args[1])
		panicked, ok2 := memory(code[i+3].Args[1])
		sameFrame, ok3 := memory(code[i+4].Args[0])
		if !ok1 || code[i].Op != x86asm.MOV || uint64(deferred.Disp) != o.Panic+8 || !isNil(code[i+1:], code[i].Args[0]) ||
			!ok2 || code[i+3].Op != x86asm.MOV || panicked.Disp <= 0 ||
			!ok3 || code[i+4].Op != x86asm.CMP || x86asm.Arg(sameFrame.Base) != code[i].Args[0] ||
			code[i+4].Args[1] != code[i+3].Args[0] || code[i+5].Op != x86asm.JNE {
			continue
		}
		if sp != 0 {
			return 0
		}
		sp = uint64(panicked.Disp)
	}
	return sp
}

// readSigcode takes sigcode0 from recovery, which before Go 1.22 begins with it: if
// it is not nil, it has to be within the stack.
func readSigcode(code []x86asm.Inst) uint64 {
	code = withoutNops(code)
	uses := usesOf(code, x86asm.RAX)
	if len(uses) < 2 || !uses[0].loads() || len(code) < uses[0].at+4 {
		return 0
	}
	next := code[uses[0].at+1:]
	if uses[1].loads() && uses[1].at == uses[0].at+1 && uses[1].offset == uses[0].offset+8 {
		next = next[1:] // sigcode1
	}
	if !isNil(next, x86asm.Arg(uses[0].into)) {
		return 0
	}
	return uses[0].offset
}

// withoutNops leaves out what fills gaps.
func withoutNops(code []x86asm.Inst) []x86asm.Inst {
	return slices.DeleteFunc(slices.Clone(code), func(inst x86asm.Inst) bool { return inst.Op == x86asm.NOP })
}

// follows says whether a register that has just been loaded is used as an
// address before it is written, or compared with anything but nil.
func follows(code []x86asm.Inst, register x86asm.Reg) bool {
	for _, inst := range code {
		for i, arg := range inst.Args {
			if m, ok := memory(arg); ok && m.Base == register && (i == 1 || inst.Op == x86asm.CMP) {
				return true
			}
		}
		switch {
		case inst.Op == x86asm.MOV && inst.Args[0] != x86asm.Arg(register):
		case inst.Op == x86asm.NOP:
		default:
			return false
		}
	}
	return false
}

// checkCreation says whether newproc1, which fills in a new g, writes words
// where the others were found to read them.
func checkCreation(o *Offsets, code []x86asm.Inst) bool {
	stores := make(map[uint64]bool)
	for _, inst := range code {
		if inst.Op != x86asm.MOV || inst.DataSize != 64 {
			continue
		}
		if m, ok := memory(inst.Args[0]); ok && m.Base != x86asm.RSP && m.Disp > 0 {
			stores[uint64(m.Disp)] = true
		}
	}
	return stores[o.Gopc] && stores[o.Startpc] && stores[o.Goid] && (o.ParentGoid == 0 || stores[o.ParentGoid])
}
