package instrument

import (
	"github.com/uspan/uspan/bpf"
)

// Summary is what came of a Trace.
type Summary struct {
	// Spans were handed to the outputs. Open are those of them whose call had
	// not ended.
	Spans, Open uint64
	// Lost is what the kernel side could not tell, by cause.
	Lost bpf.Counters
	// Calls are the sums of each function, by its full name, of which a call was
	// seen. Where several executables have a function of that name, of all of them.
	Calls map[string]Sum
	// Unknown are calls of processes that uspan did not know any more.
	Unknown uint64
}

// A Sum says what became of the calls of a function that were seen: each gave one
// span, or is lost.
type Sum struct{ Spans, Lost uint64 }

// add adds what came of another Trace; nil is none.
func (s *Summary) add(other *Summary) {
	if other == nil {
		return
	}
	s.Spans += other.Spans
	s.Open += other.Open
	s.Unknown += other.Unknown
	s.Lost.Add(&other.Lost)
	if s.Calls == nil {
		s.Calls = make(map[string]Sum)
	}
	for name, sum := range other.Calls {
		both := s.Calls[name]
		both.Spans += sum.Spans
		both.Lost += sum.Lost
		s.Calls[name] = both
	}
}

// LostSpans is the number of calls that gave no span.
func (s *Summary) LostSpans() uint64 {
	return s.Lost.RingFull + s.Lost.FramesFull + s.Lost.GoroutinesFull + s.Lost.NoGoroutine + s.Lost.ProcessesFull + s.Unknown
}

// lostOf is the number of a function's calls that the kernel side could not tell of.
func lostOf(l *bpf.Losses) uint64 {
	return l.RingFull + l.FramesFull + l.GoroutinesFull + l.NoGoroutine + l.ProcessesFull
}

// sum adds up what became of the calls of each function.
func (t *Trace) sum() error {
	t.summary.Calls = make(map[string]Sum)
	for f, n := range t.spans {
		sum := t.summary.Calls[f.FullName]
		sum.Spans += n
		t.summary.Calls[f.FullName] = sum
	}
	if t.summary.LostSpans() == 0 {
		return nil
	}
	losses, err := t.session.LostCalls()
	function := uint32(0)
	for _, p := range t.plans {
		for i := range p.Functions {
			n := t.homeless[function]
			if int(function) < len(losses) {
				n += lostOf(&losses[function])
			}
			if n > 0 {
				sum := t.summary.Calls[p.Functions[i].Name]
				sum.Lost += n
				t.summary.Calls[p.Functions[i].Name] = sum
			}
			function++
		}
	}
	return err
}
