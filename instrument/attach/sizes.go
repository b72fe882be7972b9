package attach

import (
	"math/bits"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
)

// size sets the sizes of the maps. What is of an open call is allocated when the
// call begins, from lists of the kernel that are filled beforehand for each
// processor (kernel/bpf/memalloc.c): most programs have far fewer open calls
// than there is room for. A call costs the same as with everything allocated in
// advance.
func (t *tables) size(spec *ebpf.CollectionSpec, options Options) {
	value := uint32(bpf.ValuesBytes + t.valuesBytes)
	spec.Maps["values"].ValueSize = value
	spec.Maps["empty_values"].ValueSize = value
	values := 1
	if t.captures() {
		// Where events can be very large, the bound is on the memory.
		values = max(min(options.OpenCalls, options.OpenCalls*bytesOfValues/int(slab(uint64(value)+elementBytes))), 1)
	}
	relatives := 1
	if options.Follow {
		relatives = DefaultProcesses
	}
	for name, entries := range map[string]int{
		"goroutines":   options.OpenCalls,
		"frames":       options.OpenCalls,
		"values":       values,
		"processes":    options.Processes,
		"relatives":    relatives,
		"binaries":     t.binaries,
		"functions":    max(len(t.functions), 1),
		"steps":        max(len(t.steps), 1),
		"dynamics":     max(len(t.dynamics), 1),
		"secrets":      len(t.secrets),
		"events":       options.RingBytes,
		"empty_values": 1,
		"stacks":       stacks(options),
		"lost":         max(len(t.functions), 1),
		"root_calls":   max(len(t.rootCalls), 1),
		"go_sites":     max(len(t.goSites), 1),
		"workers":      max(len(t.workers), 1),
		"children":     t.pairs(options),
		"statements":   max(len(t.goSites)*16, 1),
		"buckets":      t.buckets(options),
		"durations":    t.durations(options),
	} {
		spec.Maps[name].MaxEntries = uint32(entries)
	}
	for _, name := range []string{"goroutines", "frames", "values", "processes", "relatives", "panics", "statements", "lates", "stacks", "buckets"} {
		spec.Maps[name].Flags |= unix.BPF_F_NO_PREALLOC
	}
}

// stacks bounds the stacks that are kept.
func stacks(options Options) int {
	switch {
	case options.Tally:
		return 1 << 16
	case options.Stacks:
		return 1 << 14
	}
	return 1
}

// buckets bounds the buckets that have calls. By default, 273 functions may have all
// that there are; most functions have some dozens.
func (t *tables) buckets(options Options) int {
	const each = (64 - bpf.BucketBits + 1) << bpf.BucketBits
	if !options.Histograms {
		return 1
	}
	return min(max(len(t.functions), 1)*each, 2*options.OpenCalls)
}

func (t *tables) durations(options Options) int {
	if !options.Histograms {
		return 1
	}
	return max(len(t.functions), 1)
}

// pairs bounds the goroutines whose parents are remembered, two of which have one
// entry. It is a power of two: see children_mask.
func (t *tables) pairs(options Options) int {
	const most = 1 << 15
	if len(t.goSites) == 0 {
		return 1
	}
	return 1 << (bits.Len(uint(min(options.OpenCalls/2, most))) - 1)
}

// captures says whether any function has values to read.
func (t *tables) captures() bool {
	return slices.ContainsFunc(t.functions, func(f bpf.Function) bool { return f.Roots != [2]bpf.Root{} })
}
