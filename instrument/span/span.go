// Package span turns the kernel's events into spans: names, times, values,
// status, trees. It owns the type Span, which is all that exporters know.
package span

import "time"

// A TraceID identifies a trace, as OpenTelemetry has it. The zero value is invalid.
type TraceID [16]byte

// An ID identifies a span, as OpenTelemetry has it. The zero value is invalid.
type ID [8]byte

// A Span is one call of a traced function. Spans are never changed once they
// are handed to an exporter, and may be kept.
type Span struct {
	Resource *Resource
	Function *Function

	TraceID TraceID
	ID      ID
	// Parent is the zero ID for a root.
	Parent ID
	// Link is, for a root that a rule made one, the call that it would be a child
	// of; else nil.
	Link *Link

	// Start and End are wall clock times whose difference is that of the
	// monotonic clock. End is zero for a call that has begun and not ended: only
	// outputs that ask for live calls see such a span, once, before the ended
	// one with the same ID.
	Start, End time.Time

	// Goroutine is the runtime's goid (0 for a thread's own stack), Thread the
	// kernel's thread id at entry, in uspan's PID namespace rather than the target's.
	Goroutine uint64
	Thread    uint32
	// Level is the number of traced calls that were open on the goroutine when
	// this one began.
	Level int

	// Args and Results are what was captured, in the order of the declaration.
	// Values says that the signature is known, so that none is missing.
	Args, Results []Value
	Values        bool
	// Unavailable, Truncated and Redacted say what is missing and why, in the
	// form of the attributes of the same names ("arg.x: float in a register").
	Unavailable, Truncated, Redacted []string

	// Stack is the stack of the call at its entry, where that was asked for; else nil.
	Stack *Stack

	// Error is set where the last result is a non-nil error, and where a panic
	// ended the call whose value is known.
	Error *Error
	// Exit is how the process ended, of a call that was open then and whose parent
	// was not, where that is known; else nil.
	Exit *Exit
	// Incomplete is empty where the function returned.
	Incomplete Incomplete
}

// An Exit is how a process ended: by a signal, by its name, or else with a status.
type Exit struct {
	Status int
	Signal string
}

// A Link leads to a span of another trace.
type Link struct {
	TraceID TraceID
	ID      ID
}

// Duration is End minus Start by the monotonic clock.
func (s *Span) Duration() time.Duration { return s.End.Sub(s.Start) }

// A Value is one captured argument or result, or a part of one.
type Value struct {
	// Name is the name in the source, or the index where it has none. Entries of
	// a Map and elements of a List are called as Go selects them: `["key"]`, `[3]`.
	Name string
	// Value is an int64, a uint64 (only above the int64 range), a float64, a bool,
	// a string, a slice of one of them, a Pointer, a Struct, a List, a Map, a
	// Dynamic, an *Error, or nil for one that was not captured. A nil error is an
	// (*Error)(nil).
	Value any
	// Note is why there is no Value, or what is missing of it ("float in a
	// register", "redacted", "nil", "128 of 4096 bytes").
	Note string
}

// A Pointer is an address in the target, written in hexadecimal.
type Pointer uint64

// A Struct has the fields of a struct, or what a channel consists of.
type Struct []Value

// A List has the elements of a slice or an array that are no scalars.
type List []Value

// A Map has entries of a map, in the order of their keys.
type Map []Value

// A Dynamic is what an interface holds. The Name of its Value is empty.
type Dynamic struct {
	// Type is the dynamic type, such as "*http.Request".
	Type string
	Value
}

// An Error is a captured non-nil error.
type Error struct {
	// Type is its dynamic type, such as "*fs.PathError".
	Type string
	// Message is empty where it could not be had without calling the target.
	Message string
	// Cut is what is missing of the parts that the message is put together from,
	// each with its path in the error: `.Path: 128 of 4096 bytes`. The message has …
	// in its place.
	Cut []string
	// Value is what the error consists of, where the message is not known, or is one
	// field of several.
	Value Value
}

// Incomplete is why the end of a span is not a return.
type Incomplete string

// Reasons for an end that is no return.
const (
	// Panic: a panic unwound the call, which ended when the panic was recovered,
	// or ended the process.
	Panic Incomplete = "panic"
	// Goexit: runtime.Goexit did, which ended the goroutine.
	Goexit Incomplete = "goexit"
	// Unwound: one of the two, or its return was lost; noticed at the goroutine's
	// next event.
	Unwound     Incomplete = "unwound"
	ProcessExit Incomplete = "process exit"
	Detached    Incomplete = "detached"
)

// A Function is what spans of one function have in common.
type Function struct {
	// Name is the span's name: without the import path (`cart.(*Cart).Add`).
	Name string
	// FullName is the function as tracebacks print it.
	FullName string
	File     string
	Line     int
}

// A Resource describes one process. Two spans are of the same process if and
// only if their Resource pointers are equal.
type Resource struct {
	Attributes []Attribute
	// PID is the process id as uspan sees it; Executable the base name.
	PID        int
	Executable string
}

// An Attribute is a key and a value of type int64, float64, bool, string, or a
// slice of one of them.
type Attribute struct {
	Key   string
	Value any
}
