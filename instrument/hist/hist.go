// Package hist is how long the calls of functions took: what the kernel side has
// counted, with quantiles. It is pure data; reading it out of the kernel is
// package attach's.
package hist

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/uspan/uspan/bpf"
)

// A Histogram is the calls of one function that have ended.
type Histogram struct {
	// Function is its name as tracebacks print it, Executable the file that has it.
	Function, Executable string
	Calls                uint64
	// Errors are calls that returned a non-nil error as their last result, io.EOF
	// apart, or that a panic unwound; Panics are the latter. Unknown is why nothing is
	// known of what the function returns, or empty.
	Errors, Panics uint64
	Unknown        string
	// Open are calls that had not ended when tracing did, Lost those that are in no
	// other number.
	Open, Lost uint64
	// Sum and Max are exact.
	Sum, Max time.Duration
	// Buckets are those with calls, ascending. Unbucketed are calls that are in none,
	// for want of memory in the kernel: quantiles are those of the others.
	Buckets    []Bucket
	Unbucketed uint64
}

// A Bucket is calls that took at least Low and less than High.
type Bucket struct {
	Low, High time.Duration
	Calls     uint64
}

// SetBuckets fills in the buckets and the number of calls, from those that the kernel
// side numbers (bpf/hist.h). Unbucketed has to be there already.
func (h *Histogram) SetBuckets(calls map[uint32]uint64) {
	h.Buckets, h.Calls = nil, h.Unbucketed
	for n, count := range calls {
		low, high := bounds(n)
		h.Buckets = append(h.Buckets, Bucket{low, high, count})
		h.Calls += count
	}
	slices.SortFunc(h.Buckets, func(a, b Bucket) int { return cmp.Compare(a.Low, b.Low) })
}

// bounds are those of a bucket by its number: what bucket_of in bpf/hist.h gives it
// for.
func bounds(n uint32) (low, high time.Duration) {
	const sub = 1 << bpf.BucketBits
	if n < 2*sub {
		return time.Duration(n), time.Duration(n) + 1
	}
	shift := n/sub - 1
	low = time.Duration(n%sub+sub) << shift
	return low, low + 1<<shift
}

// Quantile is the duration that the part q of the calls, from 0 to 1, took at most:
// within 1.6 % of it, which is half of a bucket, and exact for q = 1. Without calls
// it is 0.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := h.Rank(q)
	if rank >= h.Calls-h.Unbucketed {
		return h.Max
	}
	for _, b := range h.Buckets {
		if rank <= b.Calls {
			return min(b.Low+(b.High-1-b.Low)/2, h.Max)
		}
		rank -= b.Calls
	}
	return h.Max
}

// Rank is which of the calls in buckets, by their durations from 1 on, the part q of
// them ends with.
func (h *Histogram) Rank(q float64) uint64 {
	return max(uint64(math.Ceil(q*float64(h.Calls-h.Unbucketed))), 1)
}

// Mean is the average duration, 0 without calls.
func (h *Histogram) Mean() time.Duration {
	if h.Calls == 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Calls)
}

// Seen says whether there is anything to tell.
func (h *Histogram) Seen() bool { return h.Calls+h.Open+h.Lost > 0 }

// Merge adds the calls of another histogram: of the same function, compiled once more.
func (h *Histogram) Merge(other *Histogram) {
	h.Calls += other.Calls
	h.Errors += other.Errors
	h.Panics += other.Panics
	h.Unknown = cmp.Or(h.Unknown, other.Unknown)
	h.Open += other.Open
	h.Lost += other.Lost
	h.Sum += other.Sum
	h.Max = max(h.Max, other.Max)
	h.Unbucketed += other.Unbucketed
	all := append(slices.Clone(h.Buckets), other.Buckets...)
	slices.SortFunc(all, func(a, b Bucket) int { return cmp.Compare(a.Low, b.Low) })
	h.Buckets = all[:0]
	for _, b := range all {
		if last := len(h.Buckets) - 1; last >= 0 && h.Buckets[last].Low == b.Low {
			h.Buckets[last].Calls += b.Calls
			continue
		}
		h.Buckets = append(h.Buckets, b)
	}
}
