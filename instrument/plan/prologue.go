package plan

// A prologue is how a body begins.
type prologue struct {
	// entry is the index of the instruction that every call executes once with
	// its arguments in their places: PUSHQ BP, or, before Go 1.21 and on arm64,
	// the last jump of the stack check where it is not taken. 0 where there is no
	// check.
	entry int
	// frame is the index of the instruction that makes the frame; framed says
	// that there is one.
	frame  int
	framed bool
	// jump is the index of the last jump of the stack check; checked says that
	// there is a check.
	jump    int
	checked bool
	// broken is why the beginning is not understood, or empty.
	broken string
}

// conditional says that the entry counts only where its jump is not taken.
func (p *prologue) conditional() bool { return p.checked && p.entry == p.jump }
