package attach

import (
	"errors"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// What is computed without a kernel is what the kernel says that its maps take.
func TestMemoryOf(t *testing.T) {
	_, p := open(t)
	for _, openCalls := range []int{MinOpenCalls, 5000, DefaultOpenCalls} {
		s := newSession(t, p, Options{OpenCalls: openCalls})
		memory, err := MemoryOf(s.plans, Options{OpenCalls: openCalls})
		if err != nil {
			t.Fatal(err)
		}
		taken := kernelMemory(t, s)
		// From Linux 6.4 on, which brought uprobe_multi little later. Before, the
		// kernel multiplies sizes with entries, whether they are there or not.
		said := hasMulti()
		if said && taken == 0 {
			t.Fatal("this kernel does not say what its maps take")
		}
		if said && memory.Fixed < taken || said && memory.Fixed > taken+taken/10+256<<10 {
			t.Errorf("%d open calls: %d bytes computed, %d taken", openCalls, memory.Fixed, taken)
		}
		// The kernel does not count what its slabs round up.
		calls := min(openCalls, 3000)
		for i := range calls {
			key := bpf.FrameKey{G: uint64(i)}
			if err := s.objects.Frames.Put(key, bpf.Frame{}); err != nil {
				t.Fatal(err)
			}
			if err := s.objects.Goroutines.Put(bpf.GoroutineKey{G: uint64(i)}, bpf.Goroutine{}); err != nil {
				t.Fatal(err)
			}
		}
		more := kernelMemory(t, s) - taken
		most := memory.Calls / uint64(openCalls) * uint64(calls)
		if said && (more == 0 || more > most) {
			t.Errorf("%d of %d open calls: %d bytes at most, %d taken", calls, openCalls, most, more)
		}
	}
}

func kernelMemory(t *testing.T, s *Session) (sum uint64) {
	t.Helper()
	maps := s.objects
	for _, m := range []*ebpf.Map{
		maps.Goroutines, maps.Frames, maps.Values, maps.EmptyValues, maps.Processes,
		maps.Binaries, maps.Functions, maps.Steps, maps.Dynamics, maps.Secrets, maps.Events,
		maps.Panics, maps.EmptyPanic, maps.Children, maps.LastChildren, maps.Statements,
		maps.GoSites, maps.RootCalls, maps.Workers, maps.Traces, maps.Lost, maps.Buckets, maps.Durations,
	} {
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		memory, _ := info.Memlock()
		sum += memory
	}
	return sum
}

// Histograms take what is computed for them, too.
func TestMemoryOfHistograms(t *testing.T) {
	_, p := open(t)
	many := *p
	for len(many.Functions) < 1000 {
		many.Functions = append(many.Functions, p.Functions...)
	}
	options := Options{Histograms: true}
	s := newSession(t, &many, options)
	memory, err := MemoryOf(s.plans, options)
	if err != nil {
		t.Fatal(err)
	}
	taken := kernelMemory(t, s)
	said := hasMulti()
	if said && memory.Fixed < taken || said && memory.Fixed > taken+taken/10+256<<10 {
		t.Errorf("%d bytes computed, %d taken", memory.Fixed, taken)
	}
	const n = 3000
	for i := range n {
		if err := s.objects.Buckets.Put(bpf.BucketKey{Function: uint32(i)}, uint64(1)); err != nil {
			t.Fatal(err)
		}
	}
	more := kernelMemory(t, s) - taken
	if most := memory.Buckets / uint64(s.objects.Buckets.MaxEntries()) * n; said && (more == 0 || more > most) {
		t.Errorf("%d buckets: %d bytes at most, %d taken", n, most, more)
	}
	all, err := s.Durations()
	if err != nil || len(all) != len(many.Functions) {
		t.Fatalf("%d tallies, %v", len(all), err)
	}
	for i := range all {
		if i < n && all[i].Buckets[0] != 1 {
			t.Fatalf("function %d: %+v", i, all[i])
		}
	}
}

// More open calls than there is room for are counted, and those that end make room.
func TestOpenCallsAreBounded(t *testing.T) {
	_, p := open(t)
	s := newSession(t, p, Options{OpenCalls: MinOpenCalls})
	const n = 2 * MinOpenCalls
	full, fullFrames := 0, 0
	outer := len(bpf.Goroutine{}.Outer)
	for i := range n {
		if err := s.objects.Goroutines.Put(bpf.GoroutineKey{G: uint64(i)}, bpf.Goroutine{Level: uint32(outer) + 1}); err != nil {
			full++
		}
		if err := s.objects.Frames.Put(bpf.FrameKey{G: uint64(i), Level: uint32(outer)}, bpf.Frame{}); err != nil {
			fullFrames++
		}
	}
	if full != MinOpenCalls || fullFrames != MinOpenCalls {
		t.Errorf("%d goroutines and %d calls below their outer ones of %d found no room", full, fullFrames, n)
	}
	if records, err := s.Open(0); err != nil || len(records) != MinOpenCalls*(outer+1) {
		t.Errorf("%d open calls, %v", len(records), err)
	}
	if left, err := s.InUse(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := s.objects.Frames.Put(bpf.FrameKey{G: 1 << 40, Level: uint32(outer)}, bpf.Frame{}); err != nil {
		t.Error(err)
	}
}

// The open calls of a process that has ended are all found, once each, however busy
// another one is.
func TestOpenBesideBusyProcess(t *testing.T) {
	_, p := open(t)
	s := newSession(t, p, Options{OpenCalls: MinOpenCalls})
	stop := make(chan bool)
	var busy sync.WaitGroup
	for worker := range 4 {
		busy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := bpf.FrameKey{G: uint64(worker<<32 + i), Tgid: 2, Level: 2}
				at := bpf.GoroutineKey{G: key.G, Tgid: key.Tgid}
				if err := errors.Join(
					s.objects.Goroutines.Put(at, bpf.Goroutine{Level: 3}), s.objects.Frames.Put(key, bpf.Frame{}),
					s.objects.Frames.Delete(key), s.objects.Goroutines.Delete(at)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer busy.Wait()
	defer close(stop)
	const goroutines = 100
	for range 50 {
		want := make(map[uint64]int)
		for g := range uint64(goroutines) {
			var goroutine bpf.Goroutine
			goroutine.Level = 3
			goroutine.Outer[0].Event.Span, goroutine.Outer[1].Event.Span = 3*g, 3*g+1
			for level := range uint64(3) {
				want[3*g+level] = 1
			}
			var frame bpf.Frame
			frame.Event.Span = 3*g + 2
			if err := errors.Join(
				s.objects.Goroutines.Put(bpf.GoroutineKey{G: g, Tgid: 1}, goroutine),
				s.objects.Frames.Put(bpf.FrameKey{G: g, Tgid: 1, Level: 2}, frame)); err != nil {
				t.Fatal(err)
			}
		}
		records, err := s.Open(1)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[uint64]int)
		for _, record := range records {
			got[record.Span]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestRoom(t *testing.T) {
	_, p := open(t)
	plans := []*plan.Plan{p}
	size := func(openCalls int) uint64 {
		memory, err := MemoryOf(plans, Options{OpenCalls: openCalls})
		if err != nil {
			t.Fatal(err)
		}
		return memory.Most()
	}
	for _, test := range []struct {
		bytes uint64
		want  int // 0: does not fit
	}{
		{0, 0},
		{size(MinOpenCalls) - 1, 0},
		{size(MinOpenCalls), MinOpenCalls},
		{size(1<<14) + 1, 1 << 14},
		{1 << 40, DefaultOpenCalls},
	} {
		got, fits, err := Room(plans, Options{}, test.bytes)
		if err != nil || got != test.want || fits != (test.want > 0) {
			t.Errorf("%d bytes: %d open calls, %t, %v; want %d", test.bytes, got, fits, err, test.want)
		}
	}
}

// What a function captures decides what an open call takes, up to a bound.
func TestMemoryIsOfThePlan(t *testing.T) {
	_, p := open(t)
	most := func(captures int) Memory {
		large := *p
		large.Functions = append([]plan.Function{}, p.Functions...)
		for i := range large.Functions {
			large.Functions[i].Args, large.Functions[i].Results = plan.Part{}, plan.Part{}
		}
		large.Dynamics = nil
		large.Steps = make([]plan.Step, captures)
		for i := range large.Steps {
			large.Steps[i] = plan.Step{Op: plan.FollowData, Size: 1, Limit: 128, Whole: true}
		}
		large.Functions[0].Args.Size = min(8*uint32(captures), 128)
		large.Functions[0].Args.Program = plan.Program{Count: uint16(captures)}
		memory, err := MemoryOf([]*plan.Plan{&large}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return memory
	}
	none, one, many := most(0), most(1), most(1000)
	if none.Most() >= one.Most() {
		t.Errorf("%+v without captures, %+v with one", none, one)
	}
	if bound := none.Calls + 2*bytesOfValues*DefaultOpenCalls; many.Calls > bound {
		t.Errorf("%+v with very large events, at most %d", many, bound)
	}
}

func TestSlab(t *testing.T) {
	for size, want := range map[uint64]uint64{1: 8, 8: 8, 9: 16, 64: 64, 65: 96, 97: 128, 128: 128, 129: 192, 192: 192, 193: 256, 5000: 8192} {
		if got := slab(size); got != want {
			t.Errorf("%d bytes from the slab of %d, not %d", size, got, want)
		}
	}
}
