package plan

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/uspan/uspan/instrument/gobin"
)

// A placement says where the probes of one function go, or why there are none.
type placement struct {
	entries, exits []Site
	// reason is why the function cannot be traced; empty where it can.
	reason string
	// framed says that the function makes a stack frame, loops that it has a
	// backward branch. One without either takes a few nanoseconds.
	framed, loops bool
	// restart is where the call begins anew when the stack has to grow, or nil.
	restart *restart
	// leads are the entries of functions that the body calls or jumps to, where
	// they were asked for, and indirect says that there are more.
	leads    []uint64
	indirect bool
}

func refused(format string, args ...any) placement {
	return placement{reason: fmt.Sprintf(format, args...)}
}

// place finds the sites of a function in its code. forks are the functions that
// only the child of a fork calls; stack is the function's pc-sp table.
//
// At every site SP is at the return address (on arm64, where that is in a
// register: where it would be): at the entry because nothing has moved it yet, at
// RET by what RET does, and at a jump out of the function because the frame has
// been taken down. The table has to agree.
func (a *architecture) place(fn *gobin.Function, body *gobin.Body, forks map[uint64]bool, stack func(addr uint64) (int32, bool)) placement {
	if body.Undecoded != 0 {
		return refused("its code cannot be decoded (unknown instruction) at +%#x", body.Undecoded-fn.Entry)
	}
	ins := body.Instructions
	if len(ins) == 0 || ins[0].Addr != fn.Entry {
		return refused("it has no code")
	}
	flow := a.follow(fn, ins)
	if flow.reason != "" {
		return refused("%s", flow.reason)
	}
	for _, t := range flow.leads {
		if forks[t] {
			return refused("%s", becauseFork)
		}
	}
	p := placement{loops: flow.loops, leads: flow.leads, indirect: flow.indirect}
	prologue := a.begin(body)
	p.framed = prologue.framed
	if !prologue.checked && ofRuntime(fn) {
		p.reason = becauseNoCheck
		return p
	}
	entry, reason := a.entrySite(fn, ins, prologue, flow)
	if reason != "" {
		p.reason = reason
		return p
	}
	p.exits, p.reason = a.exitSites(fn, ins, prologue, flow, &entry)
	if p.reason != "" {
		return p
	}
	p.entries = []Site{entry}
	p.restart = a.restartOf(fn, ins, prologue)
	if p.reason = onStack(fn, p.entries, stack); p.reason == "" {
		p.reason = onStack(fn, p.exits, stack)
	}
	return p
}

// begin says how a body begins. Without a stack check its first instruction would
// be hit again where the runtime interrupts what it takes for one with the next:
// the last of these is not, and none of them writes a register of arguments before.
func (a *architecture) begin(body *gobin.Body) prologue {
	p := a.prologue(body.Instructions)
	if !p.checked && body.Sequence > 1 {
		p.entry = body.Sequence - 1
	}
	return p
}

// siteAt makes a site of an instruction.
func (a *architecture) siteAt(fn *gobin.Function, in *gobin.Instruction) Site {
	return Site{
		Addr:     in.Addr,
		Bytes:    bytes.Clone(in.Bytes), // not the whole function's
		Kind:     in.Kind,
		Emulated: in.Emulated,
		ThreadG:  a.looseG && (fn.Assembly || fn.Wrapper),
	}
}

// entrySite chooses the one instruction that every call executes once, with the
// arguments in their places.
func (a *architecture) entrySite(fn *gobin.Function, ins []gobin.Instruction, pro prologue, flow *flow) (Site, string) {
	if pro.broken != "" {
		return Site{}, pro.broken
	}
	at := &ins[pro.entry]
	switch {
	case pro.checked:
		// The only way back to the check is the jump behind the call of
		// morestack; nothing may enter between the two.
		for i := 1; i <= pro.frame; i++ {
			if flow.target(ins[i].Addr) {
				return Site{}, "a branch leads into its prologue"
			}
		}
	case slices.ContainsFunc(ins[1:pro.entry+1], func(in gobin.Instruction) bool { return flow.target(in.Addr) }):
		return Site{}, "a branch leads into its first instructions"
	case flow.target(fn.Entry):
		return Site{}, "a branch leads to its first byte, which would count its iterations as calls"
	case flow.table && !pro.framed:
		return Site{}, "a jump table in a function without a frame may lead to its first byte"
	case !fn.Assembly && !pro.framed && flow.pushes:
		return Site{}, "its prologue is not one that is known"
	}
	if at.Refused != "" {
		return Site{}, fmt.Sprintf("the kernel takes no probe on its first instruction: %s", at.Refused)
	}
	site := a.siteAt(fn, at)
	if pro.conditional() {
		site.Condition = NotBelowOrEqual
	}
	return site, ""
}

// exitSites chooses the instructions one of which every call that returns
// executes last: none where it never returns. Where the entry is also the only exit it
// sets Both.
func (a *architecture) exitSites(fn *gobin.Function, ins []gobin.Instruction, pro prologue, flow *flow, entry *Site) ([]Site, string) {
	if ins[0].Kind == gobin.Return {
		entry.Both = true
		return nil, ""
	}
	var exits []Site
	for i := range ins {
		in := &ins[i]
		tail := in.Kind == gobin.JumpRegister || in.Kind == gobin.Jump && outside(fn, in.Target)
		switch {
		case tail && i == 0:
			return nil, "it only jumps to another function: trace that one"
		case tail:
		case in.Kind != gobin.Return:
			continue
		case padded(ins, i, pro, flow) && ins[i-1].Addr != entry.Addr:
			in = &ins[i-1]
		}
		if in.Refused != "" {
			return nil, fmt.Sprintf("the kernel takes no probe on its exit at +%#x: %s", in.Addr-fn.Entry, in.Refused)
		}
		s := a.siteAt(fn, in)
		s.Tail = tail
		exits = append(exits, s)
	}
	// Compiled code that never returns ends by a panic, or goes on as long as its
	// goroutine: what becomes of such calls is seen in the runtime. What assembly and
	// the runtime do, which may leave a stack otherwise, is not, nor where a jump to an
	// address in memory leads.
	if len(exits) == 0 && (fn.Assembly || ofRuntime(fn) || flow.table) {
		return nil, "it never returns"
	}
	return exits, ""
}

// padded says whether a NOP in front of the RET at i can stand in for it: the
// kernel emulates the NOP and not the RET (as it does on arm64), SP is already at the return address,
// and nothing comes to the RET but through the NOP. A jump table may lead to a
// RET only where there is no frame to take down.
func padded(ins []gobin.Instruction, i int, pro prologue, flow *flow) bool {
	nop := &ins[i-1]
	return !ins[i].Emulated && nop.Kind == gobin.Nop && nop.Emulated && nop.Refused == "" &&
		!flow.target(ins[i].Addr) && (!flow.table || pro.framed)
}

// onStack refuses sites where the function table does not have the stack
// pointer at the return address. stack is how far it is below, as
// gobin.File.StackDelta has it.
func onStack(fn *gobin.Function, sites []Site, stack func(addr uint64) (int32, bool)) string {
	for i := range sites {
		switch delta, ok := stack(sites[i].Addr); {
		case !ok:
			return "the function table does not say where its stack pointer is"
		case delta != 0:
			return fmt.Sprintf("its stack pointer is not at the return address at +%#x", sites[i].Addr-fn.Entry)
		}
	}
	return ""
}

func outside(fn *gobin.Function, addr uint64) bool { return addr < fn.Entry || addr >= fn.End }

// A flow is what the branches of a body tell.
type flow struct {
	targets  []uint64 // of branches within the function
	loops    bool     // a backward branch
	table    bool     // a jump to an address in memory
	pushes   bool     // a PUSHQ BP anywhere
	leads    []uint64
	indirect bool
	reason   string
}

// target says whether a branch leads to an address.
func (f *flow) target(addr uint64) bool { return slices.Contains(f.targets, addr) }

// follow reads all branches of a body. Its reason is why they cannot be followed.
func (a *architecture) follow(fn *gobin.Function, ins []gobin.Instruction) *flow {
	f := &flow{}
	for i := range ins {
		in := &ins[i]
		if a.misread(in) {
			f.reason = fmt.Sprintf("its code cannot be decoded (vector instruction) at +%#x", in.Addr-fn.Entry)
			return f
		}
		switch in.Kind {
		case gobin.Jump:
			if outside(fn, in.Target) {
				f.leads = append(f.leads, in.Target)
				continue
			}
			f.branch(in)
		case gobin.CondJump:
			if outside(fn, in.Target) {
				f.reason = fmt.Sprintf("a conditional jump leaves it at +%#x", in.Addr-fn.Entry)
				return f
			}
			f.branch(in)
		case gobin.Call:
			if in.Target > fn.Entry && in.Target < fn.End {
				f.reason = fmt.Sprintf("it calls into its own middle at +%#x", in.Addr-fn.Entry)
				return f
			}
			f.leads = append(f.leads, in.Target)
		case gobin.CallIndirect:
			f.indirect = true
		case gobin.JumpRegister, gobin.JumpMemory:
			if fn.Assembly {
				f.reason = fmt.Sprintf("assembly that jumps to an address that it computes, at +%#x", in.Addr-fn.Entry)
				return f
			}
			f.table = f.table || in.Kind == gobin.JumpMemory
			f.indirect = true
		case gobin.PushFrame:
			f.pushes = true
		}
	}
	if last := &ins[len(ins)-1]; fn.Assembly && (last.Kind == gobin.Plain || last.Kind == gobin.CondJump || last.Kind == gobin.PushFrame) {
		f.reason = "it runs on into the next function"
	}
	return f
}

// branch notes a branch within the function. A jump to itself is no loop, but
// there lest anything runs on.
func (f *flow) branch(in *gobin.Instruction) {
	f.targets = append(f.targets, in.Target)
	f.loops = f.loops || in.Target < in.Addr || in.Kind == gobin.CondJump && in.Target == in.Addr
}
