package gobin

// A Turn is a function of the runtime where the chain of frame pointers, which
// leads from a call to its callers, is not all that there is to a stack.
type Turn struct {
	// Start and End bound its code.
	Start, End uint64
	Kind       TurnKind
	// Delta is, for a SignalTurn, how far the stack pointer is below where it was
	// at the entry, in bytes, where the function calls the signal handler.
	Delta int32
}

// A TurnKind says how a stack goes on behind a Turn.
type TurnKind uint8

// Kinds of turns.
const (
	// InjectedTurn: the function was not called, but made to run by a signal
	// handler: what it returns to is where the code was interrupted.
	InjectedTurn TurnKind = iota + 1
	// SignalTurn: the kernel called the function, and has put what was
	// interrupted on the stack.
	SignalTurn
	// SwitchTurn: the function has switched to the stack of the thread, and the
	// goroutine's own is where runtime.g.sched says.
	SwitchTurn
	// EndTurn: how it goes on is not known.
	EndTurn
)

// turns finds the turns in the code. Of those on arm64 it knows where they are.
func (f *File) turns() []Turn {
	var turns []Turn
	for i := range f.funcs {
		fn := &f.funcs[i]
		if fn.Wrapper {
			continue
		}
		turn := Turn{Start: fn.Entry, End: fn.End}
		switch fn.Symbol {
		case "runtime.sigpanic", "runtime.asyncPreempt":
			turn.Kind = InjectedTurn
		case "runtime.morestack":
			turn.Kind = SwitchTurn
		case "runtime.systemstack":
			// From Go 1.21 on it keeps the frame pointer.
			if f.minor >= 21 {
				continue
			}
			turn.Kind = SwitchTurn
		case "runtime.sigtramp":
			delta, ok := f.callDelta(fn)
			if !ok && f.Arch == AMD64 {
				continue
			}
			turn.Kind, turn.Delta = SignalTurn, delta
		default:
			continue
		}
		if f.Arch == ARM64 {
			turn.Kind, turn.Delta = EndTurn, 0
		}
		turns = append(turns, turn)
	}
	return turns
}

// callDelta is where the stack pointer is at the only call that a function makes.
func (f *File) callDelta(fn *Function) (int32, bool) {
	var body Body
	if err := f.Decode(fn, &body); err != nil || body.Undecoded != 0 {
		return 0, false
	}
	var call uint64
	for i := range body.Instructions {
		if in := &body.Instructions[i]; in.Kind == Call {
			if call != 0 {
				return 0, false
			}
			call = in.Addr
		}
	}
	if call == 0 {
		return 0, false
	}
	return f.StackDelta(fn, call)
}

// DeltaAt is StackDelta for the function that has code at addr; it works after
// Release, too.
func (f *File) DeltaAt(addr uint64) (int32, bool) {
	fn, err := f.functionAt(addr)
	if err != nil {
		return 0, false
	}
	return f.StackDelta(&fn, addr)
}

// schedBP is the offset of runtime.gobuf.bp, which Go 1.25 moved.
func schedBP(minor int) uint64 {
	switch {
	case minor >= 18 && minor <= 24:
		return 48
	case minor >= 25 && minor <= 27:
		return 40
	}
	return 0
}
