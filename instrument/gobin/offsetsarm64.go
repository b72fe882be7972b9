package gobin

// readerARM64 reads offsets out of code for arm64, each from the same function as
// that for amd64.
var readerARM64 = reader[uint32]{
	decode: wordsARM64,
	always: []reading[uint32]{
		{"runtime.printcreatedby", readCreationARM64},
		{"runtime.isSystemGoroutine", readStartARM64},
		{"runtime.systemstack", readThreadARM64},
		{"runtime.recovery", readPanicARM64},
		{"runtime.newproc1", checkCreationARM64},
	},
	recovered: readRecoverARM64,
	processor: readProcessorARM64,
	stock:     readStockARM64,
	panicSP:   readPanicSPARM64,
	sigcode:   readSigcodeARM64,
}

// readCreationARM64 takes gopc, goid and, where there is one, parentGoid from
// printcreatedby.
func readCreationARM64(o *Offsets, code []uint32) bool {
	uses := usesARM64(code, 0)
	if len(uses) != 2 && len(uses) != 3 || !uses[0].loads || !uses[1].loads || uses[1].at+1 >= len(code) ||
		!comparesWithARM64(code[uses[1].at+1], uses[1].into, 1) {
		return false
	}
	o.Gopc, o.Goid = uses[0].offset, uses[1].offset
	if len(uses) == 3 {
		if !uses[2].loads || uses[2].offset != o.Gopc-8 {
			return false
		}
		o.ParentGoid = uses[2].offset
	}
	return true
}

// readStartARM64 takes startpc from isSystemGoroutine: what it looks up first.
func readStartARM64(o *Offsets, code []uint32) bool {
	uses := usesARM64(code, 0)
	if len(uses) == 0 || !uses[0].loads || uses[0].into != 0 || uses[0].offset != o.Gopc+16 ||
		uses[0].at+1 >= len(code) || !callsARM64(code[uses[0].at+1]) {
		return false
	}
	o.Startpc = uses[0].offset
	return true
}

// readThreadARM64 takes m and curg from systemstack, which compares g with each
// of the goroutines that a thread has: gsignal, g0, which comes first, and curg.
//
//	MOVD m(g), R4
//	MOVD gsignal(R4), R5; CMP g, R5; BEQ; MOVD 0(R4), R5; CMP g, R5; BEQ; MOVD curg(R4), R6; CMP g, R6; BEQ
func readThreadARM64(o *Offsets, code []uint32) bool {
	for i, word := range code {
		m, thread, ok := loadARM64(word)
		if !ok || m.base != gARM64 || word == checkARM64 {
			continue
		}
		next := code[i+1:]
		if len(next) < 9 {
			return false
		}
		gsignal, ok1 := comparesPointerARM64(next, thread)
		g0, ok2 := comparesPointerARM64(next[3:], thread)
		curg, ok3 := comparesPointerARM64(next[6:], thread)
		if !ok1 || !ok2 || !ok3 || g0 != 0 || gsignal == 0 || curg == 0 || gsignal == curg {
			return false
		}
		o.M, o.Curg = uint64(m.offset), curg
		return true
	}
	return false
}

// comparesPointerARM64 recognises MOVD off(base), R; CMP g, R; BEQ.
func comparesPointerARM64(code []uint32, base uint32) (offset uint64, ok bool) {
	from, pointer, ok := loadARM64(code[0])
	if !ok || from.base != base || !comparesARM64(code[1], pointer, gARM64) || !equalARM64(code[2]) {
		return 0, false
	}
	return uint64(from.offset), true
}

// readPanicARM64 takes _panic from recovery, which begins with following it.
// Before Go 1.22 it did not: it begins with numbers, and nothing is learned.
func readPanicARM64(o *Offsets, code []uint32) bool {
	uses := usesARM64(code, 0)
	if len(uses) == 0 || !uses[0].loads {
		return false
	}
	if followsARM64(code[uses[0].at+1:], uses[0].into) {
		o.Panic = uses[0].offset
	}
	return true
}

// followsARM64 says whether a register that has just been loaded is used as an
// address of something to load before it is written, or anything but moved.
func followsARM64(code []uint32, register uint32) bool {
	for _, word := range code {
		t, ok := transferARM64(word)
		switch {
		case !ok:
			return false
		case t.load && t.base == register:
			return true
		case t.load && registerSet(0).with(t.registers[0], true).with(t.registers[len(t.registers)-1], true).has(register):
			return false
		}
	}
	return false
}

// readRecoverARM64 takes _panic from gorecover, which follows it where it is not nil.
func readRecoverARM64(o *Offsets, code []uint32) bool {
	uses := usesARM64(code, gARM64)
	if len(uses) != 1 || !uses[0].loads || o.Panic != 0 && o.Panic != uses[0].offset {
		return false
	}
	o.Panic = uses[0].offset
	return true
}

// readProcessorARM64 takes p from releasep, which refuses to give up what is nil:
//
//	MOVD m(g), R2; MOVD p(R2), R0; CBZ R0
func readProcessorARM64(o *Offsets, code []uint32) uint64 {
	uses := usesARM64(code, gARM64)
	if len(uses) == 0 || !uses[0].loads || uses[0].offset != o.M || len(code) < uses[0].at+3 {
		return 0
	}
	next := code[uses[0].at+1:]
	p, processor, ok := loadARM64(next[0])
	if !ok || p.base != uses[0].into || !isNilARM64(next[1], processor) {
		return 0
	}
	return uint64(p.offset)
}

// readStockARM64 takes goidcache from newproc1, which compares it with
// goidcacheend, the word behind it, and writes both where they are the same:
//
//	LDP goidcache(R1), (R8, R9); CMP R8, R9; BNE
//
// Before Go 1.25 it loads one after the other.
func readStockARM64(code []uint32) (stock uint64) {
	stores := make(map[uint64]int)
	for i, word := range code {
		t, ok := transferARM64(word)
		if !ok || t.base == spARM64 {
			continue
		}
		if !t.load {
			for n := range t.registers {
				stores[uint64(t.offset)+8*uint64(n)]++
			}
			continue
		}
		next := code[i+1:]
		if len(t.registers) == 1 && len(next) > 0 {
			second, into, ok := loadARM64(next[0])
			if !ok || second.base != t.base || second.offset != t.offset+8 || t.registers[0] == t.base {
				continue
			}
			t.registers, next = append(t.registers, into), next[1:]
		}
		if len(next) < 2 || !comparesARM64(next[0], t.registers[0], t.registers[1]) || !differARM64(next[1]) {
			continue
		}
		if stock != 0 || t.offset <= 0 {
			return 0
		}
		stock = uint64(t.offset)
	}
	if stores[stock] == 0 || stores[stock+8] == 0 {
		return 0
	}
	return stock
}

// readPanicSPARM64 takes sp from nextDefer, which looks whether the goroutine's
// first deferred function is of the frame that the panic has come to:
//
//	MOVD g._defer, R2; CBZ R2; MOVD 8(R2), R3; MOVD sp(R0), R4; CMP R3, R4; BNE
func readPanicSPARM64(o *Offsets, code []uint32) (sp uint64) {
	for i := 0; i+6 <= len(code); i++ {
		deferred, first, ok1 := loadARM64(code[i])
		sameFrame, one, ok2 := loadARM64(code[i+2])
		panicked, other, ok3 := loadARM64(code[i+3])
		if !ok1 || uint64(deferred.offset) != o.Panic+8 || !isNilARM64(code[i+1], first) ||
			!ok2 || sameFrame.base != first || !ok3 || panicked.base == first || panicked.offset == 0 ||
			!comparesARM64(code[i+4], one, other) || !differARM64(code[i+5]) {
			continue
		}
		if sp != 0 {
			return 0
		}
		sp = uint64(panicked.offset)
	}
	return sp
}

// readSigcodeARM64 takes sigcode0 from recovery, which before Go 1.22 begins with
// it: if it is not nil, it has to be within the stack. Before Go 1.21, sigcode1 is
// loaded in front of it.
func readSigcodeARM64(code []uint32) uint64 {
	uses := usesARM64(code, 0)
	if len(uses) < 2 || !uses[0].loads {
		return 0
	}
	first := uses[0]
	if uses[1].loads && uses[1].at == first.at+1 && uses[1].offset == first.offset-8 {
		first = uses[1]
	}
	if first.at+1 >= len(code) || !isNilARM64(code[first.at+1], first.into) {
		return 0
	}
	return first.offset
}

// checkCreationARM64 says whether newproc1, which fills in a new g, writes words
// where the others were found to read them.
func checkCreationARM64(o *Offsets, code []uint32) bool {
	stores := make(map[uint64]bool)
	for _, word := range code {
		t, ok := transferARM64(word)
		if !ok || t.load || t.base == spARM64 {
			continue
		}
		for n := range t.registers {
			stores[uint64(t.offset)+8*uint64(n)] = true
		}
	}
	return stores[o.Gopc] && stores[o.Startpc] && stores[o.Goid] && (o.ParentGoid == 0 || stores[o.ParentGoid])
}
