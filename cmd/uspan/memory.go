package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/uspan/uspan/instrument/target"
)

// A heap is uspan's own memory where its cgroup bounds it: the garbage collector
// works harder then before there is none left. Whoever has set GOMEMLIMIT knows
// better.
type heap struct {
	left    uint64 // of the cgroup, before anything was read
	bounded bool
}

// boundHeap leaves a quarter of the memory to what is not Go's.
func boundHeap() heap {
	left, limited := target.MemoryLeft(os.Getpid())
	h := heap{left, limited && debug.SetMemoryLimit(-1) == math.MaxInt64}
	if h.bounded {
		debug.SetMemoryLimit(int64(min(left/4*3, math.MaxInt64)))
	}
	return h
}

// frugal has less garbage beside what is in use: a list of everything in a large
// executable is in memory at once. Whoever has set GOGC knows better.
func frugal() {
	const percent = 75
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(percent)
	}
}

// settle gives back what placing the probes took (planning's is given back before
// them), and leaves room for what the BPF maps may come to take, in bytes.
func (h heap) settle(maps uint64) {
	if h.bounded {
		debug.SetMemoryLimit(int64(min(h.left-min(maps, h.left), math.MaxInt64)))
	}
	debug.FreeOSMemory()
}
