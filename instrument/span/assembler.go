package span

import (
	"encoding/binary"
	"strings"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// An Assembler turns the events of one session into spans. It is not safe for
// concurrent use.
type Assembler struct {
	functions []function
	processes map[uint32]*Process
	clock     *clock
	panics    panics
	links     map[ID]Link // of roots that come next
	stacks    stacks
}

// A Process is what spans need to know of a process.
type Process struct {
	Resource *Resource
	// Bias is what the addresses of the process are above those of its
	// executable, in bytes: not 0 for PIE.
	Bias uint64
	// Since is when the first call began, in nanoseconds of CLOCK_MONOTONIC, or
	// 0 where it is not known. Calls before are those of the process that had
	// the id before, or of the executable that the process ran before.
	Since  uint64
	former *Process
}

// function is one function of a session with what its spans share.
type function struct {
	span Function
	plan *plan.Function
	exe  *executable
}

// NewAssembler returns an Assembler for the events of a session of plans.
func NewAssembler(plans []*plan.Plan) *Assembler {
	a := &Assembler{processes: make(map[uint32]*Process), clock: newClock(), links: make(map[ID]Link)}
	for _, p := range plans {
		exe := newExecutable(p)
		for i := range p.Functions {
			f := &p.Functions[i]
			a.functions = append(a.functions, function{
				span: Function{
					Name:     shortName(f.Name),
					FullName: f.Name,
					File:     f.File,
					Line:     f.Line,
				},
				plan: f, exe: exe,
			})
		}
	}
	return a
}

// SetProcess says who a process id is. Events of others give no span.
func (a *Assembler) SetProcess(pid int, process *Process) {
	process.former = nil
	if process.Since != 0 {
		process.former = a.processes[uint32(pid)]
	}
	a.processes[uint32(pid)] = process
}

// Process is what SetProcess said, or nil.
func (a *Assembler) Process(pid int) *Process { return a.processes[uint32(pid)] }

// Forget forgets a process that has ended.
func (a *Assembler) Forget(pid int) { delete(a.processes, uint32(pid)) }

// Span is the span of a call that has ended, or begun. Nil for an event of an
// unknown process or function.
func (a *Assembler) Span(record *bpf.Record) *Span {
	process := a.processes[record.Tgid]
	if process == nil || int(record.Function) >= len(a.functions) {
		return nil
	}
	ended := false // before the process that has its id now
	for process.former != nil && record.Start < process.Since {
		record.End = min(record.End, process.Since)
		process, ended = process.former, true
	}
	f := &a.functions[record.Function]
	s := &Span{
		Resource:  process.Resource,
		Function:  &f.span,
		TraceID:   traceID(record.Trace),
		ID:        spanID(record.Span),
		Parent:    spanID(record.Parent),
		Goroutine: record.Goid,
		Thread:    record.Tid,
		Level:     int(record.Level),
		Values:    f.plan.Values,
	}
	last := record.Kind == bpf.EventCall && record.Parent == 0
	s.Start, s.End = a.clock.times(s.TraceID, record.Start, record.End, last)
	switch {
	case record.Kind != bpf.EventCall, record.Reason == bpf.EndReturn, record.Reason == bpf.EndTail:
	case ended:
		s.Incomplete = ProcessExit
	default:
		a.unwound(s, record)
	}
	decode(s, f, process, record)
	if a.stacks.read != nil {
		a.stack(s, f, record.Stack)
	}
	if record.Flags&bpf.EventLinked != 0 {
		a.link(s)
	}
	if record.Flags&bpf.EventParentUnknown != 0 {
		s.Unavailable = append(s.Unavailable, "parent: the go statement that started the goroutine was not seen, or not clearly")
	}
	return s
}

// maxLinks bounds the links that are remembered, whose roots come next.
const maxLinks = 1 << 12

// Link takes note of the call that a root comes from: the root comes next.
func (a *Assembler) Link(record *bpf.Record) {
	if len(a.links) >= maxLinks { // of roots that were lost
		clear(a.links)
	}
	a.links[spanID(record.Span)] = Link{traceID(record.Trace), spanID(record.Parent)}
}

// link gives a root the link that was told of it.
func (a *Assembler) link(s *Span) {
	link, ok := a.links[s.ID]
	if !ok {
		s.Unavailable = append(s.Unavailable, "link: lost")
		return
	}
	delete(a.links, s.ID)
	s.Link = &link
}

// End is the span of a call that was still open at a time (nanoseconds of
// CLOCK_MONOTONIC) when nothing more could be learned about it.
func (a *Assembler) End(record *bpf.Record, now uint64, why Incomplete) *Span {
	record.End = max(now, record.Start)
	s := a.Span(record)
	if s != nil && s.Incomplete == "" {
		s.Incomplete = why
	}
	return s
}

// shortName is a function's name without the import path of its package.
func shortName(name string) string {
	// A slash behind a bracket or a parenthesis belongs to a type argument.
	end := strings.IndexAny(name, "[(")
	if end < 0 {
		end = len(name)
	}
	return name[strings.LastIndexByte(name[:end], '/')+1:]
}

func traceID(words [2]uint64) (id TraceID) {
	binary.BigEndian.PutUint64(id[:8], words[0])
	binary.BigEndian.PutUint64(id[8:], words[1])
	return id
}

func spanID(word uint64) (id ID) {
	binary.BigEndian.PutUint64(id[:], word)
	return id
}
