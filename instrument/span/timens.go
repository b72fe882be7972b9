package span

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// ClockOffsets are what uspan's time namespace adds to the clocks that the kernel
// programs and the kernel's own records go by, in nanoseconds (time_namespaces(7)).
type ClockOffsets struct{ Monotonic, Boottime int64 }

// OwnClockOffsets are those of this process; zero where the kernel has no such
// namespaces (before Linux 5.5, or without CONFIG_TIME_NS).
var OwnClockOffsets = sync.OnceValue(func() (o ClockOffsets) {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return o
	}
	for line := range strings.Lines(string(text)) {
		var clock string
		var seconds, nanoseconds int64
		if _, err := fmt.Sscan(line, &clock, &seconds, &nanoseconds); err != nil {
			continue
		}
		switch offset := seconds*1e9 + nanoseconds; clock {
		case "monotonic":
			o.Monotonic = offset
		case "boottime":
			o.Boottime = offset
		}
	}
	return o
})
