// Package plan chooses functions of an executable and says where their probes
// go, what each probe reads, and why a function is left alone. A Plan is a pure
// function of the executable and the rules: it needs no kernel and no root.
package plan

import (
	"math/bits"
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

// Rules say which functions are traced and what is captured.
type Rules struct {
	// Patterns are the -f flags: globs over function names, `/re/`, `!…` to
	// take away. Empty, or only `!…`: the main module's own functions.
	Patterns []string
	// Roots are patterns of functions, among those that are traced, whose calls
	// begin traces.
	Roots []string
	// Values says whether arguments and results are captured, of functions that
	// Expressions say nothing of. What several say of one function adds up.
	Values      bool
	Expressions []Expressions
	// Durations says that calls are counted by their durations, and are no spans: of
	// their values only whether they failed matters, and where they belong does not.
	// Roots, Values and Expressions mean nothing then.
	Durations bool
	// Functions are settings of functions. Where several match a function, the
	// last that has a setting wins.
	Functions []FunctionRule
	// Types are declarations of Go types (`type User struct { ID int64 }`) for the
	// signatures in Functions.
	Types []Text
	// Secrets change what looks like a secret by its name, and is not read.
	Secrets SecretRules
	// StringBytes bounds a captured string, in bytes (default 128); Items the
	// elements of a slice or an array, or entries of a map (16); Depth the structs
	// that are shown within each other (1).
	StringBytes, Items, Depth int
	// DebugFile is where the DWARF is, for an executable that was stripped; empty:
	// where distributions put it, or in the executable.
	DebugFile string
	// Look says that nothing will be traced: functions that cannot be are no error.
	Look bool
	// Written is where some of this was written.
	Written Written
}

// A FunctionRule is what is said of the functions that a pattern matches. It does
// not choose them.
type FunctionRule struct {
	// Match is a pattern as in Rules.Patterns, but takes nothing away.
	Match Text
	// Signature is how Go declares the function, for an executable without DWARF:
	// `func(cents int64, who string) error`. Without a Value nothing is declared.
	Signature Text
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
	// asked for (an executable without DWARF), but those that are declared; else
	// empty.
	Unvalued string
	// Conflicts are declared signatures that DWARF contradicts.
	Conflicts []string
	// Unmatched are the patterns of Rules.Functions that match no function.
	Unmatched []*PatternError
	// ErrorString is the link time address of *errors.errorString, the type of
	// io.EOF: from ReadDynamics on, with Rules.Durations. 0: it is not known.
	ErrorString uint64
	// Unwinding are the sites in the runtime that see panics and runtime.Goexit.
	// Without them Unwatched is why: calls that are unwound end with the next
	// event of their goroutine then.
	Unwinding []RuntimeSite
	Unwatched string
	// GoSites are `go` statements that make the goroutines' calls children of the
	// calls that they are in. Where none can be followed, Rootless is why.
	GoSites  []GoSite
	Rootless string
	// Workers are goroutines that these begin which wait for work.
	Workers []Worker
	// Steps are what programs read, and Dynamics what is read of dynamic types,
	// ascending by type; the latter, and their steps, from ReadDynamics on.
	Steps    []Step
	Dynamics []Dynamic

	secrets *Automaton // nil: as they are without rules
	builder *builder   // until ReadDynamics
}

// A Function is one function to trace.
type Function struct {
	gobin.Function
	File string
	Line int
	// Entry sites, restarts among them, and Exit sites. A function that is one RET has its only site
	// in Entries, with Both set; one that never returns has no exit at all.
	Entries, Exits []Site
	// Adopts says whether calls made during a call of this function become its
	// children: not so for main.main.
	Adopts bool
	// Root says that each call of the function begins a trace.
	Root bool
	// Work is how calls that this function makes begin traces, or nil.
	Work *Work
	// Args and Results are what is captured; empty where nothing is known of the
	// signature.
	Args, Results Part
	// Values says that Args and Results describe the whole signature. Unvalued is
	// why they do not although values were asked for.
	Values   bool
	Unvalued string
	// Declared says that the signature is that of the rules.
	Declared bool
	// Error is where the last result is found that is an error: with Rules.Durations,
	// else nil.
	Error *ErrorPlace

	declared [2][]Capture // the whole signature, where Args and Results are Explicit
	// Inlining is how often the function was inlined; with Rules.Look alone.
	Inlining Inlining
}

// NeverReturns says whether calls of the function end only by a panic, by
// runtime.Goexit, or with the process.
func (f *Function) NeverReturns() bool {
	return len(f.Exits) == 0 && !slices.ContainsFunc(f.Entries, func(s Site) bool { return s.Both })
}

// Skipped is a function that was asked for and is not traced.
type Skipped struct {
	gobin.Function
	Reason string
	// Inlining is known with Rules.Look alone.
	Inlining Inlining
}

// OfRuntime says whether the function belongs to the Go runtime.
func (s *Skipped) OfRuntime() bool { return ofRuntime(&s.Function) }

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

// A Part is what is read of a call at one moment: its arguments, or its results.
type Part struct {
	// Captures are in the order of the declaration, or, where the rules have
	// expressions for the function, Explicit, in the order of those.
	Captures []Capture
	Explicit bool
	// The root chunk has the integer argument registers in the order of
	// ABIInternal, of which those are read that Registers has a bit for, and behind
	// the last a part of the stack. Size is that of the chunk in bytes; Stack is
	// what its first byte would be on the stack, relative to the address of the
	// return address.
	Registers uint16
	Size      uint32
	Stack     int32
	// Program is what the root chunk leads to.
	Program Program
}

// Held is how much of the root chunk registers hold, in bytes.
func (p *Part) Held() uint32 { return uint32(bits.Len16(p.Registers)) * wordSize }

// Order is that in which the chunks of the captures come: that of the captures, but
// for an error that is the last one, which says whether a call has failed. It comes
// first, so that there is room for it.
func (p *Part) Order() []int {
	order := make([]int, 0, len(p.Captures))
	last := len(p.Captures) - 1
	if last >= 0 && p.Captures[last].Node.Kind == Error {
		order = append(order, last)
		last--
	}
	for i := range last + 1 {
		order = append(order, i)
	}
	return order
}

// A Capture is one parameter or result, or a part of one.
type Capture struct {
	// Name is the parameter's name, or its index ("0") where it has none, or that
	// of the expression.
	Name string
	// Type is the Go type as written.
	Type string
	// Expression is what of a parameter or a result is captured; empty for all.
	Expression string
	// Status says that it is not shown, but tells whether the call has failed.
	Status bool
	// Node lies at Offset of the root chunk.
	Node   *Node
	Offset uint32

	onStack bool
	stack   int32 // from the address of the return address
}

// A Dynamic is what is read of values of one type in interfaces, or of a Shape with
// one dictionary.
type Dynamic struct {
	// Type is the link time address of the type, or of the dictionary, Of as in Node.
	Type uint64
	Of   uint32
	// Direct says that the interface's data is the value, not its address.
	Direct bool
	Node   *Node
	Size   uint32
	Whole  bool
	// Unseen says that, as a key of a map, it may hold text of which not all is read.
	Unseen  bool
	Program Program
}
