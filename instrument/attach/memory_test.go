package attach

import (
	"encoding/binary"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// What is computed without a kernel is what the kernel says that its maps take, as
// empty as they begin and as full as they can be.
func TestMemoryOf(t *testing.T) {
	_, p := open(t)
	for _, options := range []Options{
		{},
		{OpenCalls: MinOpenCalls},
		{OpenCalls: 5000, Follow: true},
		{OpenCalls: MinOpenCalls, Stacks: true},
		{OpenCalls: MinOpenCalls, Tally: true},
		{OpenCalls: MinOpenCalls, Histograms: true},
	} {
		s := newSession(t, p, options)
		memory, err := MemoryOf(s.plans, options)
		if err != nil {
			t.Fatal(err)
		}
		maps := mapsOf(t, s)
		taken := kernelMemory(t, maps)
		// From Linux 6.4 on, which brought uprobe_multi little later. Before, the
		// kernel multiplies sizes with entries, whether they are there or not.
		if !hasMulti() {
			continue
		}
		if taken == 0 {
			t.Fatal("this kernel does not say what its maps take")
		}
		if memory.Fixed < taken || memory.Fixed > taken+taken/10+256<<10 {
			t.Errorf("%+v: %d bytes computed, %d taken", options, memory.Fixed, taken)
		}
		if options.OpenCalls == 0 { // too many
			continue
		}
		for _, m := range maps {
			fill(t, m)
		}
		// The kernel does not count what its slabs round up, to twice as much at most.
		more, most := kernelMemory(t, maps)-taken, memory.Calls+memory.Buckets
		if more < most/2 || more > most {
			t.Errorf("%+v: %d bytes more at most, %d taken", options, most, more)
		}
	}
}

// mapsOf are all maps of a session.
func mapsOf(t *testing.T, s *Session) (maps []*ebpf.Map) {
	t.Helper()
	ids := make(map[ebpf.MapID]bool)
	objects := reflect.ValueOf(&s.objects).Elem()
	for _, field := range reflect.VisibleFields(objects.Type()) {
		if field.Type != reflect.TypeFor[*ebpf.Program]() {
			continue
		}
		info, err := objects.FieldByIndex(field.Index).Interface().(*ebpf.Program).Info()
		if err != nil {
			t.Fatal(err)
		}
		used, _ := info.MapIDs()
		for _, id := range used {
			ids[id] = true
		}
	}
	for id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		maps = append(maps, m)
	}
	spec, err := bpf.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if len(maps) != len(spec.Maps) {
		t.Fatalf("the programs use %d maps of %d", len(maps), len(spec.Maps))
	}
	return maps
}

func kernelMemory(t *testing.T, maps []*ebpf.Map) (sum uint64) {
	t.Helper()
	for _, m := range maps {
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		memory, _ := info.Memlock()
		sum += memory
	}
	return sum
}

// fill puts all elements into a map that are not allocated at the beginning.
func fill(t *testing.T, m *ebpf.Map) {
	t.Helper()
	if m.Flags()&unix.BPF_F_NO_PREALLOC == 0 {
		return
	}
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	for i := range m.MaxEntries() {
		binary.NativeEndian.PutUint32(key, i)
		if err := m.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
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
	maps := mapsOf(t, s)
	taken := kernelMemory(t, maps)
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
	more := kernelMemory(t, maps) - taken
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
