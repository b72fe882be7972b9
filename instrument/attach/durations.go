package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
)

// A Durations is what was counted of the calls of one function.
type Durations struct {
	bpf.Durations
	// Buckets are the calls by the number of their bucket: see hist.h.
	Buckets map[uint32]uint64
}

// Durations is what was counted so far, with Options.Histograms: of each function, in
// the order of the functions of all plans. Calls that end meanwhile may be in part of it.
func (s *Session) Durations() ([]Durations, error) {
	n := s.objects.Durations.MaxEntries()
	keys := make([]uint32, n)
	values := make([]bpf.Durations, int(n)*ebpf.MustPossibleCPU())
	var cursor ebpf.MapBatchCursor
	read, err := s.objects.Durations.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read the durations: %w", err)
	}
	processors := len(values) / int(n)
	all := make([]Durations, read)
	for i := range all {
		for _, one := range values[i*processors:][:processors] {
			all[i].add(one)
		}
	}
	return all, s.readBuckets(all)
}

// add adds the durations of one processor.
func (t *Durations) add(one bpf.Durations) {
	t.Sum += one.Sum
	t.Max = max(t.Max, one.Max)
	t.Errors += one.Errors
	t.Panics += one.Panics
	t.Unbucketed += one.Unbucketed
}

// bucketsAtOnce is how many buckets one system call reads; the kernel wants room for
// all that have one hash.
const bucketsAtOnce = 1 << 12

func (s *Session) readBuckets(all []Durations) error {
	keys, values := make([]bpf.BucketKey, bucketsAtOnce), make([]uint64, bucketsAtOnce)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := s.objects.Buckets.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read the buckets: %w", err)
		}
		for i := range n {
			if int(keys[i].Function) >= len(all) {
				continue
			}
			t := &all[keys[i].Function]
			if t.Buckets == nil {
				t.Buckets = make(map[uint32]uint64)
			}
			t.Buckets[keys[i].Bucket] += values[i]
		}
		if last {
			return nil
		}
	}
}
