// Package plan chooses functions of an executable and says where their probes
// go, what each probe reads, and why a function is left alone. A Plan is a pure
// function of the executable and the rules: it needs no kernel and no root.
package plan

import "github.com/uspan/uspan/instrument/gobin"

// Rules say which functions are traced and what is captured.
type Rules struct {
	// Patterns are the -f flags: globs over function names, `/re/`, `!…` to
	// take away. Empty, or only `!…`: the main module's own functions.
	Patterns []string
	// Values says whether arguments and results are captured.
	Values bool
	// StringBytes bounds a captured string, in bytes (default 128).
	StringBytes int
}

// A Plan is what will be done to one executable.
type Plan struct {
	File    *gobin.File
	Runtime gobin.Runtime
	// Functions will be traced, ascending by entry.
	Functions []Function
	// Skipped were chosen but cannot be traced, ascending by entry.
	Skipped []Skipped
	// Omitted counts what was left out on purpose, by reason in the plural: by
	// the default selection, and functions that the compiler made.
	Omitted map[string]int
	// Unvalued is why no arguments and results are captured although they were
	// asked for (an executable without DWARF); else empty.
	Unvalued string
	// StringBytes bounds a captured string, in bytes.
	StringBytes int
}

// A Function is one function to trace.
type Function struct {
	gobin.Function
	File string
	Line int
	// Entry sites, restarts among them, and Exit sites. A function that is one RET has its only site
	// in Entries, with Both set.
	Entries, Exits []Site
	// Adopts says whether calls made during a call of this function become its
	// children: not so for main.main.
	Adopts bool
	// Args and Results are what is captured, in the order of the declaration;
	// nil where nothing is known of the signature.
	Args, Results []Capture
	// Values says that Args and Results describe the whole signature. Unvalued is
	// why they do not although values were asked for.
	Values   bool
	Unvalued string
}

// Skipped is a function that was asked for and is not traced.
type Skipped struct {
	gobin.Function
	Reason string
}

// A Condition is on the flags register, and says whether the hit of a probe counts.
type Condition uint8

// Conditions. Unsupported jumps never get a site.
const (
	Always Condition = iota
	// NotBelowOrEqual is a JBE, or on arm64 a BLS, that is not taken.
	NotBelowOrEqual
)

// A Site is one address that carries a probe.
type Site struct {
	// Addr is the link time address, Offset the same place in the file.
	Addr, Offset uint64
	// Bytes is the instruction that has to be there, Kind what it does.
	Bytes []byte
	Kind  gobin.Kind
	// SPOffset is what has to be added to the stack pointer at this site to get
	// the address of the return address, in bytes; on arm64, what the stack
	// pointer was when the function was called.
	SPOffset  int32
	Condition Condition
	// Emulated says that the kernel emulates the instruction (cheap), rather
	// than single-stepping it.
	Emulated bool
	// Both says that the function's entry is its exit, too.
	Both bool
	// Restart says that this is no entry yet, but in front of morestack, behind
	// which the function begins anew: where arguments are read that do not come
	// through.
	Restart bool
	// Tail says that the function ends here by jumping into another one: its
	// results are not there yet.
	Tail bool
	// ThreadG says that g has to be read from thread-local storage: its register
	// is not to be trusted here.
	ThreadG bool
}

// A CaptureKind is how a captured value is read and shown.
type CaptureKind uint8

// Kinds of captures.
const (
	CaptureNone CaptureKind = iota // not read: Unavailable or Redacted says why
	CaptureInt                     // sign-extended
	CaptureUint
	CaptureBool
	CapturePointer // shown in hexadecimal
	CaptureString  // words: address, length
	CaptureError   // words: itab, data
)

// A Capture is one parameter or result.
type Capture struct {
	// Name is the parameter's name, or its index ("0") where it has none.
	Name string
	// Type is the Go type as written.
	Type string
	Kind CaptureKind
	// Size is the size of a scalar in bytes.
	Size uint8
	// Words are where the value's words are.
	Words [2]Location
	// Unavailable is why the value cannot be captured.
	Unavailable string
	// Redacted says that the name looks like that of a secret: it is not read.
	Redacted bool
}

// A Location is a register or a place on the stack.
type Location struct {
	// Register is the index of an integer argument register in the order of
	// ABIInternal (AX BX CX DI SI R8 R9 R10 R11, or R0 to R15), or -1.
	Register int8
	// Offset is where a word lies on the stack, relative to the address of the
	// return address, in bytes.
	Offset int32
}
