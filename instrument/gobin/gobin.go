// Package gobin reads Go executables: functions, their code, signatures, source
// lines, and the few facts about the runtime that probes depend on. It is the
// first step of the flow (see package instrument) and knows nothing of probes.
package gobin

import (
	"debug/buildinfo"
	"debug/elf"
	"io"
	"sync"
)

// Arch is a processor architecture by its GOARCH name.
type Arch string

// The architectures that are read.
const (
	AMD64 Arch = "amd64"
	ARM64 Arch = "arm64"
)

// quantum is what all addresses of instructions are a multiple of.
func (a Arch) quantum() uint64 {
	if a == ARM64 {
		return wordARM64
	}
	return 1
}

// A File is an open Go executable. It is safe for concurrent reads, holds one
// file descriptor, and reads lazily: opening it reads headers and the function
// table, nothing else. All addresses are link time addresses.
type File struct {
	// Path is the name that the file was opened by.
	Path string
	// Arch is the architecture of the code.
	Arch Arch
	// GoVersion is the version of the toolchain, such as "go1.26.8".
	GoVersion string
	// Info is the build information; never nil.
	Info *buildinfo.BuildInfo
	// BuildID is the GNU build ID in hexadecimal where there is one, else the
	// Go build ID, else empty.
	BuildID string
	// PIE says that the executable is loaded at an address of the kernel's
	// choice, so that run time addresses are link time addresses plus a bias.
	PIE bool

	elf      *elf.File
	reader   io.ReaderAt
	blocks   *Blocks
	size     int64     // of the file, in bytes
	closer   io.Closer // nil where the caller owns the reader
	minor    int       // of the Go version: 26 in go1.26.8
	segments []segment
	table    table
	funcs    []Function
	// wrapperID is FuncID_wrapper, or 0 where it is not known.
	wrapperID byte
	module    lazy[moduledata]
	separate  *debugFile // nil where the DWARF is in the executable, or nowhere
	problem   error      // of a separate debug file that was found and not used
	debug     lazy[*debugInfo]
	types     lazy[*typeData]
	files     fileNames
	closed    sync.Once
}

// A Function is one function of the executable, identified by its entry: names
// are not unique before Go 1.21.
type Function struct {
	// Entry and End bound the code, as link time addresses.
	Entry, End uint64
	// Symbol is the raw name in the function table (`main.Map[go.shape.int]`,
	// `gopkg.in/yaml%2ev3.Marshal`).
	Symbol string
	// Name is the name as tracebacks print it (`main.Map[...]`,
	// `gopkg.in/yaml.v3.Marshal`).
	Name string
	// Package is the unescaped import path of the function's package.
	Package string
	// Assembly says that the body was written in assembly: it follows ABI0 and
	// does not keep g in its register.
	Assembly bool
	// SPWrite says that the body changes the stack pointer in a way that the
	// function table does not describe. It is set for C code, too.
	SPWrite bool
	// C says that the body is C code, which the Go linker lists when it links
	// cgo's objects itself: it follows another ABI and knows no g.
	C bool
	// FIPS says that the body lies in the text that a FIPS 140 self-check
	// hashes (crypto/internal/fips140/check): it must never be changed.
	FIPS bool
	// Wrapper says that the compiler made the function (a method wrapper, an
	// ABI wrapper): FuncID_wrapper in the function table.
	Wrapper bool

	record uint32 // offset of its _func in the function table
	top    bool   // TOPFRAME: nothing calls it; from functionAt alone
}

// A Kind is what an instruction does to the flow of control.
type Kind uint8

// Kinds of instructions. Everything that matters neither to an entry nor to an
// exit is Plain.
const (
	Plain        Kind = iota
	PushFrame         // PUSHQ BP; on arm64 MOVD.W R30, -n(RSP)
	Return            // RET
	Jump              // unconditional, to Target
	CondJump          // conditional, to Target
	JumpRegister      // to an address in a register: leaves the function
	JumpMemory        // to an address from memory: a jump table, or leaves assembly
	Call              // to Target
	CallIndirect      // to an address in a register or in memory
	Nop
	Trap // UD2, INT3: not reached, padding
	Data // a constant among the code, on arm64
)

// An Instruction is one decoded instruction.
type Instruction struct {
	// Addr is the link time address.
	Addr uint64
	// Bytes are the instruction's own bytes.
	Bytes []byte
	Kind  Kind
	// Target is the address that a Jump, CondJump or Call leads to.
	Target uint64
	// Emulated says that the kernel emulates the instruction when it carries a
	// uprobe, rather than single-stepping it (arch/x86/kernel/uprobes.c,
	// arch/arm64/kernel/probes).
	Emulated bool
	// Refused is why the kernel refuses a uprobe on the instruction (a LOCK
	// prefix, a privileged opcode, …); empty where it takes one.
	Refused string
}

// A Body is the code of a function, decoded from its first byte to its last.
type Body struct {
	// Instructions end before what fills the gap to the next function.
	Instructions []Instruction
	// Undecoded is the address of the first byte that could not be decoded, or
	// 0. Nothing behind it is in Instructions: resynchronising would find
	// instructions inside others.
	Undecoded uint64
	// Sequence is how many instructions at the beginning the runtime takes for
	// one: a goroutine that it interrupts between two of them goes on at the first
	// (arm64: they keep something in R27). 0 where it goes on as usual.
	Sequence int
}

// A Runtime holds what probes need to know of the Go runtime inside the executable.
type Runtime struct {
	// Offsets are where the fields of its structs lie; Goid is always known.
	Offsets Offsets
	// Source says where the offsets come from.
	Source Source
	// StackHiOffset is the offset of runtime.g.stack.hi in bytes.
	StackHiOffset uint64
	// TLSOffset is where g lies on amd64, relative to the thread pointer (FS
	// base). On arm64 it is 0: all Go code, also assembly, has g in R28.
	TLSOffset int64
	// Goidgen is the link time address of runtime.sched.goidgen, the last number of a
	// goroutine that was handed out to a processor; 0 where it is not known.
	Goidgen uint64
	// Turns are where stacks go on otherwise than by frame pointers; SchedBP is the
	// offset of runtime.gobuf.bp, by which they do, or 0 where it is not known.
	Turns   []Turn
	SchedBP uint64
	// FramePointers says that every function with a frame keeps a frame pointer:
	// before Go 1.21 not so on arm64.
	FramePointers bool
}

// A Signature is a function's parameters and results in the order of the
// declaration, the receiver first.
type Signature struct {
	Params, Results []Param
	// Dictionary says that the function is a shape-stenciled generic body: a
	// hidden pointer to its dictionary is passed before the first parameter,
	// behind a receiver; before Go 1.20 DictionaryFirst, before a receiver, too.
	Dictionary, DictionaryFirst bool
}

// A Param is a parameter, a receiver or a result.
type Param struct {
	Name string // empty where it is unnamed or blank
	Type *Type
	// DictionaryWord is, where the type depends on type parameters, which word of the
	// dictionary has the address of the runtime data of the type that it really has,
	// counted from 1; else 0. Type is its shape then.
	DictionaryWord int
}

// A Type is as much of a Go type as its layout and its values need.
type Type struct {
	// Name is the type as Go writes it, such as `[]main.Item` or `*os.File`.
	Name string
	Kind TypeKind
	// Size and Align are in bytes.
	Size, Align int64
	// Elem is the element of a Pointer, Array, Slice, Chan or Map, where it is
	// known; Key is the key of a Map.
	Elem, Key *Type
	// Impl is the runtime's struct that a Map is a pointer to.
	Impl *Type
	// Len is the length of an Array.
	Len int64
	// Fields are those of a Struct.
	Fields []Field
	// Error says that the type is the interface `error`.
	Error bool
}

// A Field is one field of a struct.
type Field struct {
	Name     string
	Offset   int64
	Type     *Type
	Embedded bool
}

// A TypeKind is the kind of a Type, as ABIInternal and captures tell them apart.
type TypeKind uint8

// Kinds of types.
const (
	Invalid TypeKind = iota
	Bool
	Int  // signed integers of any size
	Uint // unsigned integers of any size, uintptr
	Float
	Complex
	Pointer // also unsafe.Pointer
	String
	Slice
	Array
	Struct
	Interface      // two words: itab and data
	EmptyInterface // two words: type and data
	Map
	Chan
	Func
)
