package hist

import (
	"encoding/json"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/bpf"
)

// bucketOf is bucket_of of bpf/hist.h.
func bucketOf(d time.Duration) uint32 {
	log := bits.Len64(uint64(d)) - 1
	if log <= bpf.BucketBits {
		return uint32(d)
	}
	shift := log - bpf.BucketBits
	return uint32(shift<<bpf.BucketBits) + uint32(uint64(d)>>shift)
}

// Every duration lies in its bucket, and buckets follow each other without a gap.
func TestBounds(t *testing.T) {
	end := time.Duration(0)
	for n := range bucketOf(math.MaxInt64) {
		low, high := bounds(n)
		if low != end || high <= low {
			t.Fatalf("bucket %d is from %d to %d, behind %d", n, low, high, end)
		}
		if width := float64(high-low) / float64(max(low, 1)); low >= 64 && width > 1./32 {
			t.Fatalf("bucket %d, from %d to %d, is %.3f wide", n, low, high, width)
		}
		for _, d := range []time.Duration{low, high - 1} {
			if bucketOf(d) != n {
				t.Fatalf("%d is in bucket %d, not %d", d, bucketOf(d), n)
			}
		}
		end = high
	}
}

func histogram(durations ...time.Duration) *Histogram {
	h := &Histogram{}
	calls := make(map[uint32]uint64)
	for _, d := range durations {
		calls[bucketOf(d)]++
		h.Sum += d
		h.Max = max(h.Max, d)
	}
	h.SetBuckets(calls)
	return h
}

// Quantiles are within 1.6 % of those of the durations themselves.
func TestQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		durations := make([]time.Duration, 1+random.IntN(2000))
		for i := range durations {
			durations[i] = time.Duration(math.Exp(random.Float64()*25 + random.NormFloat64()))
		}
		h := histogram(durations...)
		slices.Sort(durations)
		for _, q := range []float64{0, .5, .9, .99, .999, 1} {
			want := durations[max(int(math.Ceil(q*float64(len(durations)))), 1)-1]
			got := h.Quantile(q)
			if math.Abs(float64(got-want)) > float64(want)/64 || q == 1 && got != want {
				t.Fatalf("quantile %v of %d: %d, not %d", q, len(durations), got, want)
			}
		}
	}
	if none := histogram(); none.Quantile(.5) != 0 || none.Mean() != 0 {
		t.Error("without calls")
	}
}

// Two halves are the whole.
func TestMerge(t *testing.T) {
	var durations []time.Duration
	for i := range 1000 {
		durations = append(durations, time.Duration(i*i))
	}
	whole, half := histogram(durations...), histogram(durations[:300]...)
	half.Merge(histogram(durations[300:]...))
	if half.Calls != whole.Calls || half.Sum != whole.Sum || half.Max != whole.Max || !slices.Equal(half.Buckets, whole.Buckets) {
		t.Errorf("%+v\n%+v", half, whole)
	}
}

func TestJSON(t *testing.T) {
	h := histogram(10, 20, 30, time.Microsecond)
	h.Function, h.Executable, h.Errors = "main.<f>", "./app", 1
	unknown := histogram(1)
	unknown.Function, unknown.Unknown = "main.g", "no DWARF"
	var b strings.Builder
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	if err := WriteJSON(&b, at, []Histogram{*h, {Function: "main.never"}, *unknown}); err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-01-02T03:04:05.000006Z","function":"main.<f>","executable":"./app","calls":4,"errors":1,"panics":0,"open":0,"lost":0,"sum_ns":1060,"p50_ns":20,"p90_ns":1000,"p99_ns":1000,"p999_ns":1000,"max_ns":1000,"unbucketed":0,"buckets":[{"low_ns":10,"high_ns":11,"calls":1},{"low_ns":20,"high_ns":21,"calls":1},{"low_ns":30,"high_ns":31,"calls":1},{"low_ns":992,"high_ns":1008,"calls":1}]}
{"time":"2026-01-02T03:04:05.000006Z","function":"main.g","executable":"","calls":1,"errors":null,"panics":0,"open":0,"lost":0,"sum_ns":1,"p50_ns":1,"p90_ns":1,"p99_ns":1,"p999_ns":1,"max_ns":1,"unbucketed":0,"buckets":[{"low_ns":1,"high_ns":2,"calls":1}]}
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
	for line := range strings.Lines(b.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}
