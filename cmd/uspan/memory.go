package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/uspan/uspan/instrument/target"
)

// boundMemory makes the garbage collector work harder before uspan's cgroup
// runs out of memory. Whoever has set GOMEMLIMIT knows better.
func boundMemory() {
	if left, limited := target.MemoryLeft(os.Getpid()); limited && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(int64(min(left/4*3, math.MaxInt64)))
	}
}

// freeMemory gives back what planning took.
func freeMemory() { debug.FreeOSMemory() }
