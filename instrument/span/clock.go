package span

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// clock turns the kernel's monotonic times into wall clock times. All spans of
// a trace use one offset, so that they stay in order when the wall clock is
// set; between traces the offset is measured anew.
type clock struct {
	offsets map[TraceID]int64
	latest  int64  // offset in nanoseconds
	taken   uint64 // when it was measured, monotonic nanoseconds
}

const (
	// offsetAge is how old an offset may be that a new trace begins with, in
	// nanoseconds.
	offsetAge = uint64(time.Second)
	// maxOffsets bounds the traces that are remembered: those whose root never
	// ends would stay for ever.
	maxOffsets = 1 << 16
)

func newClock() *clock { return &clock{offsets: make(map[TraceID]int64)} }

// times are a start and an end (0: none) as wall clock times. last says that
// no more spans of the trace are expected.
func (c *clock) times(trace TraceID, start, end uint64, last bool) (time.Time, time.Time) {
	offset, known := c.offsets[trace]
	if !known {
		if now := Monotonic(); c.taken == 0 || now-c.taken > offsetAge {
			c.latest, c.taken = measureOffset(), now
		}
		offset = c.latest
	}
	switch {
	case last:
		delete(c.offsets, trace)
	case !known:
		if len(c.offsets) >= maxOffsets {
			clear(c.offsets)
		}
		c.offsets[trace] = offset
	}
	wall := func(monotonic uint64) time.Time {
		if monotonic == 0 {
			return time.Time{}
		}
		return time.Unix(0, int64(monotonic)+offset)
	}
	return wall(start), wall(end)
}

// Monotonic is the time now in nanoseconds of CLOCK_MONOTONIC, which is what
// the kernel programs read (bpf_ktime_get_ns).
func Monotonic() uint64 {
	return uint64(nanoseconds(unix.CLOCK_MONOTONIC) - OwnClockOffsets().Monotonic)
}

// measureOffset is wall clock time minus monotonic time in nanoseconds: the
// best of a few tries, since the two cannot be read at once.
func measureOffset() int64 {
	var offset int64
	best := int64(math.MaxInt64)
	for range 5 {
		before := int64(Monotonic())
		wall := nanoseconds(unix.CLOCK_REALTIME)
		after := int64(Monotonic())
		if after-before < best {
			best = after - before
			offset = wall - (before + best/2)
		}
	}
	return offset
}

func nanoseconds(clock int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		// The two clocks that are asked for exist in every Linux.
		panic("clock_gettime: " + err.Error())
	}
	return ts.Nano()
}
