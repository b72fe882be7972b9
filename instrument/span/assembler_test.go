package span

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

func TestSpan(t *testing.T) {
	a := newTestAssembler(t,
		[]plan.Capture{{Name: "id", Node: uint64s}, {Name: "p", Node: number8(plan.Address, 8)}},
		[]plan.Capture{{Name: "0", Node: text8}, {Name: "err", Node: failure}})
	args := chunk(0, words(1<<63, 0xc0))
	results := append(chunk(0, words(0xc000, 9, 0, 0)), chunk(0, []byte("12345678"))...)
	s := a.Span(record(args, results))

	want := []Attribute{
		{"code.function.name", "example.com/shop/cart.(*Cart[example.com/x.T]).Add"},
		{"code.file.path", "cart.go"},
		{"code.line.number", int64(7)},
		{"uspan.goroutine.id", int64(17)},
		{"uspan.thread.id", int64(4243)},
		{"uspan.arg.id", "9223372036854775808"},
		{"uspan.arg.p", "0xc0"},
		{"uspan.ret.0", "12345678"},
		{"uspan.truncated", []string{"ret.0: 8 of 9 bytes"}},
	}
	if diff := cmp.Diff(want, s.Attributes()); diff != "" {
		t.Error(diff)
	}
	if want := "cart.(*Cart[example.com/x.T]).Add"; s.Function.Name != want {
		t.Errorf("name is %s, want %s", s.Function.Name, want)
	}
	if s.TraceID != (TraceID{7: 1, 15: 2}) || s.ID != (ID{7: 3}) || s.Parent != (ID{7: 4}) {
		t.Errorf("trace %x, span %x, parent %x", s.TraceID, s.ID, s.Parent)
	}
	if s.Level != 2 || s.Incomplete != "" || s.Error != nil || s.Resource.PID != testPID {
		t.Errorf("%+v", s)
	}
}

func TestUnknown(t *testing.T) {
	a := newTestAssembler(t, nil, nil)
	other := record(nil, nil)
	other.Tgid++
	if s := a.Span(other); s != nil {
		t.Errorf("a process that nobody knows: %+v", s)
	}
	beyond := record(nil, nil)
	beyond.Function = 1
	if s := a.Span(beyond); s != nil {
		t.Errorf("a function that is not planned: %+v", s)
	}
	a.Forget(testPID)
	if s := a.Span(record(nil, nil)); s != nil {
		t.Errorf("a process that was forgotten: %+v", s)
	}
}

func TestIncomplete(t *testing.T) {
	a := newTestAssembler(t, nil, nil)
	unwound := record(nil, nil)
	unwound.Reason = bpf.EndUnwound
	if s := a.Span(unwound); s.Incomplete != Unwound {
		t.Errorf("incomplete is %q, want %q", s.Incomplete, Unwound)
	}
	if s := a.End(record(nil, nil), 5000, Detached); s.Incomplete != Detached || s.Duration() != 4*time.Microsecond {
		t.Errorf("incomplete is %q, duration %v", s.Incomplete, s.Duration())
	}
	// The processor that stamped the beginning may be ahead.
	if s := a.End(record(nil, nil), 900, ProcessExit); s.Incomplete != ProcessExit || s.Duration() != 0 {
		t.Errorf("incomplete is %q, duration %v", s.Incomplete, s.Duration())
	}
}

// A trace keeps its offset to the wall clock, and gives it back with its root.
func TestClock(t *testing.T) {
	c := newClock()
	now := Monotonic()
	start, end := c.times(TraceID{1}, now, now+1500, false)
	if d := time.Since(start); d < -time.Second || d > 10*time.Second {
		t.Errorf("now is %v", start)
	}
	if end.Sub(start) != 1500 {
		t.Errorf("1500 ns are %v", end.Sub(start))
	}

	// Somebody sets the wall clock an hour forward, as far as this one knows.
	c.latest += int64(time.Hour)
	c.taken = Monotonic()
	if again, _ := c.times(TraceID{1}, now, 0, false); !again.Equal(start) {
		t.Errorf("in the same trace: %v, was %v", again, start)
	}
	if other, _ := c.times(TraceID{2}, now, 0, true); other.Sub(start) != time.Hour {
		t.Errorf("in a new trace: %v later", other.Sub(start))
	}
	if _, open := c.times(TraceID{3}, now, 0, false); !open.IsZero() {
		t.Errorf("a call that has not ended ended at %v", open)
	}
	if _, _ = c.times(TraceID{1}, now, now, true); len(c.offsets) != 1 {
		t.Errorf("%d traces are remembered, one has no root yet", len(c.offsets))
	}

	// An old offset is measured anew.
	c.taken -= 2 * uint64(time.Second)
	if fresh, _ := c.times(TraceID{4}, now, 0, true); fresh.Sub(start).Abs() > time.Second {
		t.Errorf("measured anew: %v later", fresh.Sub(start))
	}
}

func TestShortName(t *testing.T) {
	for name, want := range map[string]string{
		"main.main.func1":                         "main.main.func1",
		"example.com/shop/cart.(*Cart).Add":       "cart.(*Cart).Add",
		"example.com/x.Map[go.shape.int,a/b.T]":   "x.Map[go.shape.int,a/b.T]",
		"gopkg.in/yaml.v3.(*Node).Decode":         "yaml.v3.(*Node).Decode",
		"example.com/x.(*Set[example.com/y.K]).F": "x.(*Set[example.com/y.K]).F",
	} {
		if got := shortName(name); got != want {
			t.Errorf("shortName(%q) = %q, want %q", name, got, want)
		}
	}
}

// The id of a process may have been another's: what it did belongs to that, also
// where uspan hears of it later.
func TestReusedProcessID(t *testing.T) {
	a := newTestAssembler(t, nil, nil)
	former := a.Process(testPID)
	early, late := record(nil, nil), record(nil, nil)
	early.Reason, late.Reason = bpf.EndUnwound, bpf.EndUnwound
	late.Start += 500
	now := &Process{Resource: &Resource{PID: testPID}, Since: late.Start}
	a.SetProcess(testPID, now)
	if s := a.Span(early); s.Resource != former.Resource || s.Incomplete != ProcessExit {
		t.Errorf("a call of the former process: %+v", s)
	}
	if s := a.Span(late); s.Resource != now.Resource || s.Incomplete != Unwound {
		t.Errorf("a call of the process: %+v", s)
	}
	a.Forget(testPID)
	a.SetProcess(testPID, now)
	if s := a.Span(early); s.Resource != now.Resource {
		t.Errorf("a call without a former process: %+v", s)
	}
}
