package attach

import (
	"cmp"
	"math"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

// tables are what cookies point into, and the sizes of the maps.
type tables struct {
	base        []int // first function of each plan
	functions   []bpf.Function
	steps       []bpf.Step
	dynamics    map[bpf.DynamicKey]bpf.Dynamic
	goBase      []int // first `go` statement of each plan
	goSites     []bpf.GoSite
	rootCalls   []bpf.RootCall
	workers     map[bpf.WorkerKey]bpf.Worker
	secrets     []bpf.SecretState
	binaries    int
	valuesBytes int
	chunkBytes  int
	cookieBits  uint64 // that the cookies of calls can have
}

// Bounds of Options.EventBytes. What does not fit is said in the span. The kernel
// has memory at hand for entries of up to 4,096 bytes.
const (
	MinEventBytes = 256
	MaxEventBytes = 3 << 10
)

// minChunk is what the registers of any architecture take.
const minChunk = 128

// bytesOfValues is how much memory there is for the captured values of open
// calls: as many bytes for each of Options.OpenCalls. elementBytes is what an
// element takes beside its value.
const (
	bytesOfValues = 256
	elementBytes  = 48 + 16 + 8
)

// DefaultProcesses bounds the processes that are targets at any moment, and those that
// may become some.
const DefaultProcesses = 16384

func newTables(plans []*plan.Plan, options Options) *tables {
	t := &tables{
		binaries:   len(plans),
		chunkBytes: minChunk,
		dynamics:   make(map[bpf.DynamicKey]bpf.Dynamic),
		workers:    make(map[bpf.WorkerKey]bpf.Worker),
		cookieBits: ^allCookieFlags,
	}
	t.secrets = secretStates(plans[0].Secrets()) // all plans are made by the same rules
	room := 0
	for binary, p := range plans {
		t.base = append(t.base, len(t.functions))
		t.goBase = append(t.goBase, len(t.goSites))
		for i := range p.GoSites {
			t.goSites = append(t.goSites, goSite(p, &p.GoSites[i], len(t.functions)))
		}
		first := uint32(len(t.steps))
		for i := range p.Steps {
			t.steps = append(t.steps, stepOf(&p.Steps[i], first))
			t.chunkBytes = max(t.chunkBytes, chunkOf(&p.Steps[i]))
		}
		for i := range p.Functions {
			f := &p.Functions[i]
			function := bpf.Function{
				Roots: [2]bpf.Root{root(&f.Args, first), root(&f.Results, first)},
				Error: errorPlace(f.Error),
			}
			function.Roots[0].Reserve = uint16(min(f.Reserve(), math.MaxUint16))
			t.roots(&function, f)
			t.functions = append(t.functions, function)
			for n := range f.Entries {
				t.cookieBits |= cookieFlags(f, &f.Entries[n], true)
			}
			for n := range f.Exits {
				t.cookieBits |= cookieFlags(f, &f.Exits[n], false)
			}
			needed, longest := p.Room(f)
			room, t.chunkBytes = max(room, int(needed)), max(t.chunkBytes, int(longest))
		}
		for i := range p.Dynamics {
			d := &p.Dynamics[i]
			if d.Node.Kind == plan.None {
				continue
			}
			t.dynamics[bpf.DynamicKey{Type: d.Type, Binary: uint32(binary), Of: d.Of}] = dynamic(d, first)
			t.chunkBytes = max(t.chunkBytes, interfaceHead+int(d.Size))
		}
	}
	for binary, p := range plans {
		t.work(p, binary)
	}
	t.chunkBytes = (t.chunkBytes + 7) &^ 7
	// A chunk is begun where there is room for the longest one, twice over (values.h).
	room = max(min(room, options.EventBytes), minValues)
	t.valuesBytes = room + chunkHead + 2*t.chunkBytes
	for i := range t.functions { // arguments have half of it, whatever results there are
		args := &t.functions[i].Roots[0]
		args.Reserve = min(args.Reserve, uint16(room/2))
	}
	return t
}

// roots adds the calls of a function that begin traces.
func (t *tables) roots(function *bpf.Function, f *plan.Function) {
	if f.Work == nil {
		return
	}
	function.Calls = f.Work.CallsAt
	copy(function.Start[:], f.Work.Depths)
	switch {
	case f.Work.Serves:
		function.Place = bpf.RootsAnywhere
	case f.Work.Accepts:
		function.Place = bpf.RootsOutermost
	}
	for _, call := range f.Work.Calls {
		t.rootCalls = append(t.rootCalls, bpf.RootCall{
			Function: uint32(len(t.functions)),
			Distance: int32(call.Return - f.Entries[0].Addr),
		})
	}
}

// work adds the goroutines of a plan that wait for work: where traced functions have
// their index, these have the numbers behind all of those.
func (t *tables) work(p *plan.Plan, binary int) {
	for i := range p.Workers {
		w := &p.Workers[i]
		function := uint32(len(t.functions) + len(t.workers))
		t.workers[bpf.WorkerKey{Entry: w.Entry, Binary: uint32(binary)}] = bpf.Worker{Function: function, Calls: w.CallsAt}
		for _, call := range w.Work.Calls {
			t.rootCalls = append(t.rootCalls, bpf.RootCall{Function: function, Distance: int32(call.Return - w.Entry)})
		}
	}
}

// errorPlace is where an error is as the kernel programs have it.
func errorPlace(e *plan.ErrorPlace) int32 {
	switch {
	case e == nil:
		return 0
	case e.Register >= 0:
		return int32(-1 - e.Register)
	}
	return e.Stack
}

// goSite is a `go` statement as the kernel programs look at it; function is any
// of the plan.
func goSite(p *plan.Plan, site *plan.GoSite, function int) bpf.GoSite {
	compiled := bpf.GoSite{Function: uint32(function), Length: uint32(len(site.Bytes))}
	if site.Workers {
		compiled.Workers = 1
	}
	if goidgen := p.Runtime.Goidgen; goidgen != 0 {
		compiled.Goidgen = int64(goidgen - site.Addr)
	}
	return compiled
}

// minValues is room that is there even where nothing is read: the verifier of Linux
// 6.1 loses track of the only place that a chunk can have.
const minValues = 64

// chunkHead is the size of a struct chunk, interfaceHead what is in the chunk of
// an interface before the value, in bytes.
const chunkHead, interfaceHead = int(unsafe.Sizeof(bpf.Chunk{})), 8

// chunkOf is the size of the longest chunk that a step makes, in bytes.
func chunkOf(s *plan.Step) int {
	switch s.Op {
	case plan.ReadRange, plan.FollowPointer, plan.FollowPart:
		return int(s.Size)
	case plan.FollowData:
		return int(s.Size) * int(s.Limit)
	}
	return 0
}

// root is a part as the kernel programs read it. The steps of its plan begin at
// first.
func root(p *plan.Part, first uint32) bpf.Root {
	if !p.Reads() {
		return bpf.Root{}
	}
	return bpf.Root{
		First:     first + p.Program.First,
		Count:     p.Program.Count,
		Registers: p.Registers,
		Size:      uint16(p.Size),
		Stack:     int16(p.Stack),
		Held:      uint16(p.Held()),
	}
}

var (
	ops = map[plan.Op]uint8{
		plan.ReadRange:       bpf.StepRange,
		plan.FollowPointer:   bpf.StepPointer,
		plan.FollowData:      bpf.StepData,
		plan.FollowInterface: bpf.StepInterface,
		plan.EachElement:     bpf.StepArray,
		plan.FollowShape:     bpf.StepShape,
		plan.FollowPart:      bpf.StepPart,
	}
	guards = map[plan.Guard]uint8{
		plan.Unguarded:    bpf.GuardNone,
		plan.WordZero:     bpf.GuardZero,
		plan.WordNotZero:  bpf.GuardNotZero,
		plan.TopHashInUse: bpf.GuardTopHash,
		plan.ControlInUse: bpf.GuardControl,
	}
	lengths = map[plan.Length]uint8{
		plan.LengthWord: bpf.LengthWord,
		plan.LengthMask: bpf.LengthMask,
		plan.LengthLog2: bpf.LengthLog2,
		plan.LengthHalf: bpf.LengthHalf,
	}
)

func stepOf(s *plan.Step, first uint32) bpf.Step {
	step := bpf.Step{
		Op:      ops[s.Op],
		Guarded: guards[s.Guard],
		Length:  lengths[s.Length],
		Offset:  s.Offset,
		Size:    s.Size,
		Limit:   s.Limit,
		First:   first + s.Program.First,
		Count:   s.Program.Count,
		Guard:   uint16(s.GuardAt),
		Skip:    s.Skip,
	}
	if s.Whole {
		step.Flags |= bpf.StepWhole
	}
	if s.Empty {
		step.Flags |= bpf.StepEmpty
	}
	if s.Element {
		step.Flags |= bpf.StepIndex
	}
	if s.Key {
		step.Flags |= bpf.StepKey
	}
	if s.Public {
		step.Flags |= bpf.StepPublic
	}
	if s.Text {
		step.Flags |= bpf.StepText
	}
	return step
}

// secretStates are the states of the automaton as the kernel programs have them.
func secretStates(a *plan.Automaton) []bpf.SecretState {
	states := make([]bpf.SecretState, len(a.Next))
	for i, next := range a.Next {
		copy(states[i].Next[:], next[:]) // 0 for letters that no name has
		if a.Found[i] {
			states[i].Found = 1
		}
	}
	return states
}

func dynamic(d *plan.Dynamic, first uint32) bpf.Dynamic {
	dynamic := bpf.Dynamic{First: first + d.Program.First, Count: d.Program.Count, Size: d.Size}
	if d.Whole {
		dynamic.Flags |= bpf.StepWhole
	}
	if d.Unseen {
		dynamic.Flags |= bpf.StepSecret
	}
	if d.Direct {
		dynamic.Direct = 1
	}
	return dynamic
}

// configure sets the constants and the sizes of the maps.
func (t *tables) configure(spec *ebpf.CollectionSpec, options Options, ns pidNamespace) error {
	for name, value := range map[string]any{
		"live":          options.Live,
		"stacked":       options.Stacks || options.Tally,
		"follow":        options.Follow,
		"histograms":    options.Histograms,
		"cookie_bits":   t.cookieBits,
		"chunk_bytes":   uint32(t.chunkBytes),
		"values_bytes":  uint32(t.valuesBytes),
		"wakeup_bytes":  uint32(options.RingBytes / 8),
		"pid_namespace": ns.address,
		"pid_level":     ns.level,
		"self_tgid":     ns.self,

		"max_trace_spans": uint32(options.TraceSpans),
		"children_mask":   uint32(t.pairs(options) - 1),
		"trace_chunk":     uint32(min(max(options.TraceSpans/16, 1), 64)),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return err
		}
	}
	setKernelVersion(spec)
	t.size(spec, options)
	return nil
}

// write fills the tables in the kernel.
func (t *tables) write(objects *bpf.Objects) error {
	return cmp.Or(
		writeAll(objects.RootCalls, t.rootCalls, slices.Repeat([]uint32{1}, len(t.rootCalls))),
		writeArray(objects.Functions, t.functions),
		writeArray(objects.GoSites, t.goSites),
		writeArray(objects.Steps, t.steps),
		writeArray(objects.Secrets, t.secrets),
		writeMap(objects.Workers, t.workers),
		writeMap(objects.Dynamics, t.dynamics),
	)
}

func writeArray[T any](array *ebpf.Map, values []T) error {
	indices := make([]uint32, len(values))
	for i := range indices {
		indices[i] = uint32(i)
	}
	return writeAll(array, indices, values)
}

func writeMap[K comparable, V any](hash *ebpf.Map, entries map[K]V) error {
	keys, values := make([]K, 0, len(entries)), make([]V, 0, len(entries))
	for key, value := range entries {
		keys, values = append(keys, key), append(values, value)
	}
	return writeAll(hash, keys, values)
}

// writeAll writes entries in one system call.
func writeAll[K, V any](m *ebpf.Map, keys []K, values []V) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := m.BatchUpdate(keys, values, nil)
	return err
}

var turnKinds = map[gobin.TurnKind]uint16{
	gobin.InjectedTurn: bpf.TurnInjected,
	gobin.SignalTurn:   bpf.TurnSignal,
	gobin.SwitchTurn:   bpf.TurnSwitch,
	gobin.EndTurn:      bpf.TurnEnd,
}

// turns writes turns, and what bounds them all.
func turns(binary *bpf.Binary, all []gobin.Turn) {
	first, last := ^uint64(0), uint64(0)
	n := 0
	for i := range all {
		t := &all[i]
		if n == len(binary.Turns) || t.Kind == gobin.SwitchTurn && (binary.MachineOffset == 0 || binary.CurgOffset == 0 || binary.SchedBp == 0) {
			continue
		}
		first, last = min(first, t.Start), max(last, t.End)
		turn := bpf.Turn{Start: t.Start, Size: uint32(t.End - t.Start), Kind: turnKinds[t.Kind], Delta: int16(t.Delta)}
		binary.Turns[n] = turn
		n++
	}
	if n > 0 {
		binary.TurnsStart, binary.TurnsSize = first, last-first
	}
}

func binaryOf(p *plan.Plan, every bool) bpf.Binary {
	binary := bpf.Binary{
		GoidOffset:    uint32(p.Runtime.Offsets.Goid),
		TlsOffset:     int32(p.Runtime.TLSOffset),
		PanicOffset:   uint32(p.Runtime.Offsets.Panic),
		PanicSpOffset: uint32(p.Runtime.Offsets.PanicSP),
		SigcodeOffset: uint32(p.Runtime.Offsets.Sigcode0),
		GopcOffset:    uint32(p.Runtime.Offsets.Gopc),
		MachineOffset: uint32(p.Runtime.Offsets.M),
		CurgOffset:    uint32(p.Runtime.Offsets.Curg),
		SchedBp:       uint32(p.Runtime.SchedBP),
		ErrorString:   p.ErrorString,
	}
	turns(&binary, p.Runtime.Turns)
	if len(p.GoSites) > 0 {
		binary.ThreadOffset = uint32(p.Runtime.Offsets.M)
		binary.ProcessorOffset = uint32(p.Runtime.Offsets.P)
		binary.GoidcacheOffset = uint32(p.Runtime.Offsets.GoidCache)
		binary.ParentGoidOffset = uint32(p.Runtime.Offsets.ParentGoid)
	}
	if every {
		binary.Every = 1
	}
	if p.File.PIE {
		binary.Moves, binary.CodeStart = 1, p.File.CodeStart()
	}
	return binary
}
