package attach

import (
	"fmt"
	"math/bits"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// Memory is what the maps of a Session take of the kernel's memory, in bytes,
// on amd64 and arm64. It is charged to uspan's own cgroup.
type Memory struct {
	// Fixed is taken from the beginning to the end.
	Fixed uint64
	// Calls is what open calls take beyond that where there are as many as
	// there can be.
	Calls uint64
	// Buckets is what histograms take beyond that where all of them have calls.
	Buckets uint64
}

// Most is the bound.
func (m Memory) Most() uint64 { return m.Fixed + m.Calls + m.Buckets }

// MemoryOf computes what a Session of plans takes; it asks no kernel.
func MemoryOf(plans []*plan.Plan, options Options) (Memory, error) {
	options = options.withDefaults()
	spec, err := bpf.Spec()
	if err != nil {
		return Memory{}, fmt.Errorf("load the BPF programs: %w", err)
	}
	newTables(plans, options).size(spec, options)
	return memoryOf(spec), nil
}

// Room finds how many open calls there is room for in so many bytes, at most
// those of the options. fits is false where not even MinOpenCalls have room.
func Room(plans []*plan.Plan, options Options, bytes uint64) (openCalls int, fits bool, err error) {
	options = options.withDefaults()
	spec, err := bpf.Spec()
	if err != nil {
		return 0, false, fmt.Errorf("load the BPF programs: %w", err)
	}
	t := newTables(plans, options)
	for ; options.OpenCalls >= MinOpenCalls; options.OpenCalls /= 2 {
		t.size(spec, options)
		if memoryOf(spec).Most() <= bytes {
			return options.OpenCalls, true, nil
		}
	}
	return 0, false, nil
}

// memoryOf sums up kernel/bpf/hashtab.c (htab_map_mem_usage), arraymap.c
// (array_map_mem_usage) and ringbuf.c (ringbuf_map_mem_usage). Elements of hash
// tables that are not allocated at the beginning come from the slabs of kmalloc,
// with a pointer beside them (kernel/bpf/memalloc.c).
func memoryOf(spec *ebpf.CollectionSpec) Memory {
	const (
		page    = 4096
		bucket  = 16
		element = 48 // struct htab_elem
		pointer = 8
		locks   = 32 // of a hash table, for each processor
	)
	var m Memory
	for name, s := range spec.Maps {
		entries := uint64(s.MaxEntries)
		m.Fixed += page // its struct, and what rounding up takes
		switch s.Type {
		case ebpf.Hash, ebpf.LRUHash:
			size := element + align8(s.KeySize) + align8(s.ValueSize)
			m.Fixed += bucket<<bits.Len64(entries-1) + locks*processors()
			if s.Flags&unix.BPF_F_NO_PREALLOC == 0 {
				m.Fixed += size * (entries + processors()) // one more for each
			} else if each := slab(size+pointer) * entries; name == "buckets" {
				m.Buckets += each
			} else {
				m.Calls += each
			}
		case ebpf.PerCPUArray:
			m.Fixed += entries * (pointer + align8(s.ValueSize)*processors())
		case ebpf.Array:
			m.Fixed += align8(s.ValueSize) * entries
		case ebpf.RingBuf:
			m.Fixed += entries + 3*page + entries/page*2*pointer
		}
	}
	return m
}

// processors is how many there can be on this machine.
func processors() uint64 {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return uint64(runtime.NumCPU())
	}
	return uint64(n)
}

func align8(n uint32) uint64 { return (uint64(n) + 7) &^ 7 }

// slab is the size of the kmalloc cache that objects of a size come from
// (kmalloc_info in mm/slab_common.c).
func slab(size uint64) uint64 {
	switch {
	case size <= 8:
		return 8
	case size > 64 && size <= 96:
		return 96
	case size > 128 && size <= 192:
		return 192
	}
	return 1 << bits.Len64(size-1)
}
