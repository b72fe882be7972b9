// Package bpf holds the kernel programs (C), the one event layout that they
// share with uspan, and what bpf2go generates from them. Nothing here talks to
// the kernel: loading and attaching is package attach's.
package bpf

import "github.com/cilium/ebpf"

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -go-package bpf -cflags "-I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu -mcpu=v3 -O2 -g -Wall -Wextra -Wpadded -Werror -Wno-unused-parameter" -type event -type origin -type panic_value -type chunk -type root -type secret_state -type event_kind -type end_reason -type step_op -type step_flags -type step_guard -type step_length -type chunk_status -type class -type condition -type event_flags -type cookie_flags -type values_layout -type cookie_role -type panic_layout -type stack_word -type turn_kind -type turn -type bucket_layout -type root_place -type late_layout uspan uspan.bpf.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -go-package bpf -cflags "-I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu -mcpu=v3 -O2 -g -Wall -Wextra -Wpadded -Werror -Wno-unused-parameter" self self.bpf.c

// The structs of event.h, which the kernel programs send, and of maps.h, which
// uspan and the kernel programs share.
type (
	// Event is the fixed part of a record.
	Event = uspanEvent
	// Chunk heads a piece of captured memory, which its bytes follow.
	Chunk = uspanChunk
	// Step is one thing to be read.
	Step = uspanStep
	// Root is what is read first of arguments or results.
	Root = uspanRoot
	// Function is what is the same for all calls of one function.
	Function = uspanFunction
	// Origin is what is told of a process with its first event.
	Origin = uspanOrigin
	// PanicValue is the value of a panic, which its bytes follow.
	PanicValue = uspanPanicValue
	// GoSite is a `go` statement.
	GoSite = uspanGoSite
	// StatementKey identifies a `go` statement of a process.
	StatementKey = uspanStatementKey
	// Losses are the calls of one function that gave no event, by cause.
	Losses = uspanLosses
	// Durations is what is kept of the calls of one function, beside their buckets.
	Durations = uspanDurations
	// BucketKey identifies a bucket: calls of one function.
	BucketKey = uspanBucketKey
	// Worker is a goroutine that waits for work.
	Worker = uspanWorker
	// WorkerKey identifies a Worker.
	WorkerKey = uspanWorkerKey
	// RootCall is a call that begins a trace.
	RootCall = uspanRootCall
	// SecretState is a state of the automaton that looks for secrets in keys.
	SecretState = uspanSecretState
	// Dynamic is what is read of a dynamic type.
	Dynamic = uspanDynamic
	// DynamicKey identifies a Dynamic.
	DynamicKey = uspanDynamicKey
	// Binary is what is the same for all processes of one executable.
	Binary = uspanBinary
	// Stack is a stack at the entry of a function.
	Stack = uspanStack
	// Turn is a function of the runtime where stacks go on otherwise.
	Turn = uspanTurn
	// Counters are what was lost, by cause.
	Counters = uspanCounters
	// Goroutine has open frames.
	Goroutine = uspanGoroutine
	// GoroutineKey identifies a Goroutine.
	GoroutineKey = uspanGoroutineKey
	// Process is a target.
	Process = uspanProcess
	// Late are the hits of a goroutine that wait to be told.
	Late = uspanLate
	// Frame is an open call.
	Frame = uspanFrame
	// FrameKey identifies a Frame.
	FrameKey = uspanFrameKey
)

// The constants of event.h and maps.h.
const (
	EventCall    = uint8(uspanEventKindEVENT_CALL)
	EventBegin   = uint8(uspanEventKindEVENT_BEGIN)
	EventProcess = uint8(uspanEventKindEVENT_PROCESS)
	EventPanic   = uint8(uspanEventKindEVENT_PANIC)
	EventLink    = uint8(uspanEventKindEVENT_LINK)
	EventExec    = uint8(uspanEventKindEVENT_EXEC)

	EventValuesLost    = uint8(uspanEventFlagsEVENT_VALUES_LOST)
	EventParentUnknown = uint8(uspanEventFlagsEVENT_PARENT_UNKNOWN)
	EventLinked        = uint8(uspanEventFlagsEVENT_LINKED)
	EventResultsLost   = uint8(uspanEventFlagsEVENT_RESULTS_LOST)

	RootsAtStart   = uint32(uspanRootPlaceROOTS_AT_START)
	RootsOutermost = uint32(uspanRootPlaceROOTS_OUTERMOST)
	RootsAnywhere  = uint32(uspanRootPlaceROOTS_ANYWHERE)

	EndReturn  = uint8(uspanEndReasonEND_RETURN)
	EndTail    = uint8(uspanEndReasonEND_TAIL)
	EndUnwound = uint8(uspanEndReasonEND_UNWOUND)
	EndPanic   = uint8(uspanEndReasonEND_PANIC)
	EndGoexit  = uint8(uspanEndReasonEND_GOEXIT)
	EndExec    = uint8(uspanEndReasonEND_EXEC)

	StepRange     = uint8(uspanStepOpSTEP_RANGE)
	StepPointer   = uint8(uspanStepOpSTEP_POINTER)
	StepData      = uint8(uspanStepOpSTEP_DATA)
	StepInterface = uint8(uspanStepOpSTEP_INTERFACE)
	StepArray     = uint8(uspanStepOpSTEP_ARRAY)
	StepShape     = uint8(uspanStepOpSTEP_SHAPE)
	StepPart      = uint8(uspanStepOpSTEP_PART)

	StepWhole  = uint8(uspanStepFlagsSTEP_WHOLE)
	StepEmpty  = uint8(uspanStepFlagsSTEP_EMPTY)
	StepKey    = uint8(uspanStepFlagsSTEP_KEY)
	StepIndex  = uint8(uspanStepFlagsSTEP_INDEX)
	StepPublic = uint8(uspanStepFlagsSTEP_PUBLIC)
	StepText   = uint8(uspanStepFlagsSTEP_TEXT)
	StepSecret = uint8(uspanStepFlagsSTEP_SECRET)

	GuardNone    = uint8(uspanStepGuardGUARD_NONE)
	GuardZero    = uint8(uspanStepGuardGUARD_ZERO)
	GuardNotZero = uint8(uspanStepGuardGUARD_NOT_ZERO)
	GuardTopHash = uint8(uspanStepGuardGUARD_TOP_HASH)
	GuardControl = uint8(uspanStepGuardGUARD_CONTROL)

	LengthWord = uint8(uspanStepLengthLENGTH_WORD)
	LengthMask = uint8(uspanStepLengthLENGTH_MASK)
	LengthLog2 = uint8(uspanStepLengthLENGTH_LOG2)
	LengthHalf = uint8(uspanStepLengthLENGTH_HALF)

	ChunkOK      = uint8(uspanChunkStatusCHUNK_OK)
	ChunkFault   = uint8(uspanChunkStatusCHUNK_FAULT)
	ChunkInvalid = uint8(uspanChunkStatusCHUNK_INVALID)
	ChunkType    = uint8(uspanChunkStatusCHUNK_TYPE)
	ChunkDeep    = uint8(uspanChunkStatusCHUNK_DEEP)
	ChunkSecret  = uint8(uspanChunkStatusCHUNK_SECRET)
	ChunkSteps   = uint8(uspanChunkStatusCHUNK_STEPS)

	ClassBoundary = int(uspanClassCLASS_BOUNDARY)
	ClassOther    = int(uspanClassCLASS_OTHER)
	Classes       = int(uspanClassCLASSES)

	CookieArgs    = uint64(uspanCookieFlagsCOOKIE_ARGS)
	CookieResults = uint64(uspanCookieFlagsCOOKIE_RESULTS)
	CookieThreadG = uint64(uspanCookieFlagsCOOKIE_THREAD_G)
	CookieBoth    = uint64(uspanCookieFlagsCOOKIE_BOTH)
	CookieTail    = uint64(uspanCookieFlagsCOOKIE_TAIL)
	CookieNoAdopt = uint64(uspanCookieFlagsCOOKIE_NO_ADOPT)
	CookieRestart = uint64(uspanCookieFlagsCOOKIE_RESTART)
	CookieKept    = uint64(uspanCookieFlagsCOOKIE_KEPT)
	CookieRoot    = uint64(uspanCookieFlagsCOOKIE_ROOT)
	CookieLoops   = uint64(uspanCookieFlagsCOOKIE_LOOPS)

	RolePanic     = uint64(uspanCookieRoleROLE_PANIC)
	RoleRecovery  = uint64(uspanCookieRoleROLE_RECOVERY)
	RoleFatal     = uint64(uspanCookieRoleROLE_FATAL)
	RoleGoexit    = uint64(uspanCookieRoleROLE_GOEXIT)
	RoleGoexitEnd = uint64(uspanCookieRoleROLE_GOEXIT_END)

	// What a word of a Stack says beside an address, and what that is of it.
	StackExact   = uint64(1) << uspanStackWordSTACK_EXACT_BIT
	StackAtFrame = uint64(1) << uspanStackWordSTACK_AT_FRAME_BIT
	StackCreator = uint64(1) << uspanStackWordSTACK_CREATOR_BIT
	StackAddress = uint64(1)<<uspanStackWordSTACK_ADDRESS_BITS - 1

	TurnInjected = uint16(uspanTurnKindTURN_INJECTED)
	TurnSignal   = uint16(uspanTurnKindTURN_SIGNAL)
	TurnEnd      = uint16(uspanTurnKindTURN_END)
	TurnSwitch   = uint16(uspanTurnKindTURN_SWITCH)

	// PanicRaw is how many bytes of the value of a panic are read; what a string
	// header there leads to is behind them.
	PanicRaw = int(uspanPanicLayoutPANIC_RAW_BYTES)

	// BucketBits is how many bits of a duration, behind its first, tell buckets
	// apart: there are 2^BucketBits between two powers of two.
	BucketBits = int(uspanBucketLayoutBUCKET_BITS)

	// LevelKept is LEVEL_KEPT: in place of a level, arguments of a call that
	// has not been entered yet.
	LevelKept = ^uint32(0)

	// LevelLate is LEVEL_LATE: in place of a level, and of those behind it up to
	// LevelKept, arguments of calls that are going to be told late.
	LevelLate = LevelKept - uint32(uspanLateLayoutLATE_HITS)

	ConditionAlways          = uint64(uspanConditionCONDITION_ALWAYS)
	ConditionNotBelowOrEqual = uint64(uspanConditionCONDITION_NOT_BELOW_OR_EQUAL)

	ValuesEvent = int(uspanValuesLayoutVALUES_EVENT)
	ValuesBytes = int(uspanValuesLayoutVALUES_BYTES)
)

// Objects are the programs, maps and variables once they are loaded.
type Objects = uspanObjects

// SelfObjects are the programs and variables by which uspan asks about itself.
type SelfObjects = selfObjects

// SelfSpec are the programs of SelfObjects as they were compiled.
func SelfSpec() (*ebpf.CollectionSpec, error) { return loadSelf() }

// Spec is the kernel side as it was compiled: nothing is loaded, and the
// caller may change it.
func Spec() (*ebpf.CollectionSpec, error) { return loadUspan() }

// Cookie is what a site tells its program: see COOKIE_FUNCTION and the others
// in event.h. spOffset is in bytes and a multiple of 8.
func Cookie(function, binary int, flags, condition uint64, spOffset int32) uint64 {
	return uint64(function)&0xffffff | uint64(binary)&0xfff<<24 | flags | condition&0x7<<44 |
		uint64(int64(spOffset)/8)<<48
}

// CookieFunction is the function of a cookie.
func CookieFunction(cookie uint64) uint32 { return uint32(cookie) & 0xffffff }
