package plan

import (
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// A refusal is a set of functions that must never carry a probe, and why.
type refusal struct {
	glob   string // over the raw symbol
	reason string
}

// Why functions are refused. The facts are those of runtime/asm_amd64.s,
// runtime/sys_linux_amd64.s, runtime/proc.go, runtime/signal_unix.go and
// syscall/exec_linux.go of Go 1.21 to 1.27.
const (
	becauseStart    = "runs while the program or a thread starts, before there is a goroutine"
	becauseSwitch   = "switches stacks: its return is not on the stack that it was called on"
	becauseSignal   = "is where the handling of a signal begins, on the stack of signals and before it has a g of its own"
	becauseInjected = "is not called, but made to run by a signal handler, in the middle of other code"
	becauseReturn   = "is where the kernel returns from signals: debuggers and unwinders know it by its bytes"
	becauseFork     = "runs in the child of a fork, which shares the memory and the goroutine of its parent"
	becauseG0       = "never returns: it ends by switching to another goroutine"
	becauseMiddle   = "is entered in its middle"
	becauseABI      = "is called with registers of its own instead of a calling convention"
	becauseBottom   = "is the bottom of every goroutine's stack and is never called"
	becauseUnwind   = "is where a panic unwinds the stack, and never returns"
	becauseLocal    = "is an assembly routine without a package: its calling convention is not known"
	becauseNoCheck  = "runtime code that does not check its stack: it may run without a valid goroutine (signals, thread starts, stack switches, forks)"
	becauseWrapper  = "wrapper inside the runtime"
)

// refusals are names; what can be told from the code is in refuseBody.
//
// In the runtime, a function that checks its stack has a valid g whose stack it
// runs on: the check itself reads g. That is why code that runs before that, at
// the start of signal handlers and of threads and in the child of a fork, has no
// check (it is go:nosplit, see sigtrampgo), and refuseBody takes all such functions
// of the runtime away. What a signal handler calls once it has its own g, gsignal,
// has one, and can be traced: runtime.sighandler, for one. The list has those that check their stack and are unfit
// nevertheless, and those whose reason is worth more than the general one.
var refusals = []refusal{
	{"_rt0_*", becauseStart},
	{"*rt0_go*", becauseStart},
	{"runtime.clone", becauseStart},
	{"runtime.settls", becauseStart},
	{"runtime.mstart*", becauseStart},
	{"runtime.minit*", becauseStart},
	{"runtime.newosproc*", becauseStart},
	{"runtime.libpreinit", becauseStart},

	{"runtime.morestack*", becauseSwitch},
	{"runtime.newstack", becauseSwitch},
	{"runtime.gogo*", becauseSwitch},
	{"gogo*", becauseSwitch},
	{"runtime.mcall", becauseSwitch},
	{"runtime.systemstack*", becauseSwitch},
	{"runtime.asmcgocall*", becauseSwitch},
	{"runtime.cgocallback*", becauseSwitch},
	{"runtime.cgocall", becauseSwitch},
	{"runtime.gosave*", becauseSwitch},
	{"gosave*", becauseSwitch},
	{"runtime.switchToThread*", becauseSwitch},
	{"crosscall*", becauseSwitch},
	{"runtime.crosscall*", becauseSwitch},
	{"runtime.needm*", becauseSwitch},
	{"runtime.dropm", becauseSwitch},
	{"runtime.callbackUpdateSystemStack", becauseSwitch},
	{"runtime.vdso*", becauseSwitch},
	{"runtime.racecall*", becauseSwitch},

	{"runtime.schedule", becauseG0},
	{"runtime.execute", becauseG0},
	{"runtime.goschedImpl", becauseG0},
	{"runtime.*_m", becauseG0}, // functions for mcall: park_m, gosched_m, goyield_m, …
	{"runtime.goexit0", becauseG0},
	{"runtime.goexit1", becauseG0},
	{"runtime.mexit", becauseG0},
	{"runtime.preemptPark", becauseG0},
	{"runtime.exitsyscall0", becauseG0},
	{"runtime.exitsyscallNoP", becauseG0},
	{"runtime.asyncPreempt2.func*", becauseG0},
	{"runtime.recovery", becauseUnwind},
	{"runtime.gopanic", becauseUnwind},
	{"runtime.main", "is the life of the main goroutine, which never returns"},
	{"runtime.goexit", becauseBottom},
	{"runtime.goexit.*", becauseBottom},

	{"runtime.sigreturn*", becauseReturn},
	{"runtime.sigtramp*", becauseSignal},
	{"runtime.cgoSig*", becauseSignal},
	{"runtime.asyncPreempt*", becauseInjected},
	{"runtime.debugCall*", becauseInjected},

	{"syscall.forkAndExecInChild*", becauseFork},
	{"syscall.rawVforkSyscall*", becauseFork},
	{"syscall.rawSyscallNoError*", becauseFork},
	{"syscall.RawSyscall*", becauseFork},
	{"syscall.rawSyscall*", becauseFork},
	{"syscall.runtime_BeforeFork*", becauseFork},
	{"syscall.runtime_AfterFork*", becauseFork},
	{"runtime.syscall_runtime_*Fork*", becauseFork},
	{"syscall.doCheckClonePidfd*", becauseFork},
	{"runtime.clearSignalHandlers", becauseFork},
	{"runtime.msigrestore", becauseFork},
	{"runtime.getsig", becauseFork},
	{"runtime.setsig", becauseFork},
	{"runtime.sysSigaction*", becauseFork},
	{"runtime.rt_sigaction*", becauseFork},
	{"runtime.rtsigprocmask*", becauseFork},
	{"runtime/internal/syscall.*", becauseFork},
	{"internal/runtime/syscall*Syscall6*", becauseFork},
	{"golang.org/x/sys/unix.RawSyscall*", becauseFork},

	{"runtime.duff*", becauseMiddle},
	{"runtime.gcWriteBarrier*", becauseABI},
	{"gcWriteBarrier*", becauseABI},
	{"runtime.panicIndex*", becauseABI},
	{"runtime.panicSlice*", becauseABI},
	{"runtime.panicBounds*", becauseABI},
	{"runtime.reflectcall", becauseABI},
	{"callRet", becauseABI},
	{"reflect.makeFuncStub", becauseABI},
	{"reflect.methodValueCall", becauseABI},
}

// refuseName is why a function must not be probed that is told by what the
// function table says of it; empty where nothing speaks against it.
func refuseName(fn *gobin.Function) string {
	switch {
	case fn.C:
		return "is C code: it follows another calling convention and knows no goroutine"
	case fn.FIPS:
		return "belongs to the FIPS 140 module, whose code is hashed when the program starts: a probe would make the program panic"
	}
	if listed(fn) {
		if reason := refuseListed(fn); reason != "" {
			return reason
		}
	}
	if fn.SPWrite {
		return "writes the stack pointer in a way that the function table does not describe"
	}
	return ""
}

// refuseListed is the part of refuseName that is about the runtime and what the
// child of a fork runs.
func refuseListed(fn *gobin.Function) string {
	if n, ok := strings.CutPrefix(fn.Symbol, "runtime.call"); ok && digits(n) {
		return becauseABI
	}
	for i := range refusals {
		if glob(refusals[i].glob, fn.Symbol) {
			return refusals[i].reason
		}
	}
	switch {
	case fn.Assembly && fn.Package == "":
		return becauseLocal
	case fn.Wrapper && ofRuntime(fn):
		return becauseWrapper
	}
	return ""
}

// listed says whether the list of refusals can have the function.
func listed(fn *gobin.Function) bool {
	switch fn.Package {
	case "", "runtime", "syscall", "reflect", "golang.org/x/sys/unix":
		return true
	}
	return ofRuntime(fn)
}

// ofRuntime says whether a function belongs to the runtime, also where the
// runtime implements it for another package (`syscall.runtime_BeforeFork`).
func ofRuntime(fn *gobin.Function) bool {
	pkg := fn.Package
	return pkg == "runtime" || pkg == "runtime/cgo" || pkg == "runtime/race" || pkg == "runtime/asan" || pkg == "runtime/msan" ||
		strings.HasPrefix(pkg, "runtime/internal/") || strings.HasPrefix(pkg, "internal/runtime/") ||
		strings.HasPrefix(local(fn), "runtime_")
}

// forking are the functions that only code between fork and exec calls: a
// function that calls one of them goes on in the child.
func forking(fn *gobin.Function) bool {
	switch fn.Symbol {
	case "syscall.runtime_AfterForkInChild", "runtime.syscall_runtime_AfterForkInChild", "syscall.rawVforkSyscall":
		return true
	}
	return false
}
