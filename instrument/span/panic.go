package span

import "github.com/uspan/uspan/bpf"

// A panicKey names one of the panics of a goroutine, which are numbered from 1.
type panicKey struct {
	tgid   uint32
	goid   uint64
	number uint8
}

// A panicked is a panic that has unwound calls.
type panicked struct {
	value *Error
	note  string // what is missing of its message
	end   uint64 // of the calls that it has unwound
}

// panics remembers the panics whose calls follow in the ring.
type panics struct {
	known map[panicKey]panicked
	order []panicKey // the oldest first
}

// maxPanics bounds the panics that are remembered. The calls of a panic are told
// at once behind it, with at most what other threads tell in between.
const maxPanics = 1024

func (p *panics) add(key panicKey, value panicked) {
	if p.known == nil {
		p.known = make(map[panicKey]panicked)
	}
	if _, again := p.known[key]; !again {
		if len(p.order) == maxPanics {
			delete(p.known, p.order[0])
			p.order = append(p.order[:0], p.order[1:]...)
		}
		p.order = append(p.order, key)
	}
	p.known[key] = value
}

// Panic takes note of a panic: the calls that it has unwound come next.
func (a *Assembler) Panic(record *bpf.Record) {
	process := a.processes[record.Tgid]
	if process == nil || int(record.Function) >= len(a.functions) {
		return
	}
	value, raw, ok := bpf.ParsePanic(record)
	if !ok {
		return
	}
	v := panicValue{exe: a.functions[record.Function].exe, bias: process.Bias, value: value, raw: raw}
	p := panicked{end: record.End}
	p.value, p.note = v.read()
	a.panics.add(panicKey{record.Tgid, record.Goid, record.Panic}, p)
}

// unwound says of a span whose call did not return, and will not, why.
func (a *Assembler) unwound(s *Span, record *bpf.Record) {
	switch record.Reason {
	case bpf.EndUnwound:
		s.Incomplete = Unwound
	case bpf.EndExec:
		s.Incomplete = ProcessExit
	case bpf.EndGoexit:
		s.Incomplete = Goexit
	case bpf.EndPanic:
		s.Incomplete = Panic
		p, ok := a.panics.known[panicKey{record.Tgid, record.Goid, record.Panic}]
		// One of an earlier panic would have another end.
		if !ok || p.end != record.End {
			s.Unavailable = append(s.Unavailable, "panic: its value was not seen, or is lost")
			return
		}
		s.Error = p.value
		if p.note != "" {
			s.Truncated = append(s.Truncated, "panic: "+p.note)
		}
	}
}

// Failed says whether the call ended in an error or by a panic.
func (s *Span) Failed() bool { return s.Error != nil || s.Incomplete == Panic }

// Failure is what the status of a span that has failed says.
func (s *Span) Failure() string {
	if s.Error != nil {
		return s.Error.String()
	}
	return string(s.Incomplete)
}
