package gobin

// Unwinding is where the runtime keeps what a panic does to a stack: offsets in
// bytes (src/runtime/runtime2.go, panic.go). The zero value says that it is not
// known for this release.
type Unwinding struct {
	// PanicSP is the offset of runtime._panic.sp, from Go 1.22 on: the stack
	// pointer of the frame whose deferred functions a panic calls, which is where
	// it goes on when it is recovered.
	PanicSP uint64
	// Sigcode0 is the offset of runtime.g.sigcode0, where that stack pointer is
	// handed to runtime.recovery before.
	Sigcode0 uint64
}

// Known says whether the stack pointer can be found that a panic returns to.
func (u Unwinding) Known() bool { return u.PanicSP != 0 || u.Sigcode0 != 0 }

// unwindingOf is a table over the minor versions of Go.
func unwindingOf(minor int) Unwinding {
	var u Unwinding
	switch minor {
	case 18, 19, 20:
		u.Sigcode0 = 272
	case 21:
		u.Sigcode0 = 248
	case 22, 23, 24, 25, 27:
		u.PanicSP = 48
	case 26:
		u.PanicSP = 40
	}
	return u
}
