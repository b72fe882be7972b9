package attach

import (
	"errors"
	"reflect"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// walk visits the entries of a hash table, bucket by bucket, whatever comes and
// goes meanwhile. From key to key (ebpf.Map.Iterate) that would begin from the start
// again wherever the key is gone by then: beside a busy process it would not end.
func walk[K, V any](m *ebpf.Map, visit func(K, *V)) error {
	return walkBatches(m, func(n int) []V { return make([]V, n) }, func(keys []K, values []V) {
		for i, key := range keys {
			visit(key, &values[i])
		}
	})
}

// walkKeys is walk for tables whose values are as large as the plan wants them.
func walkKeys[K any](m *ebpf.Map, visit func(K)) error {
	values := reflect.SliceOf(reflect.ArrayOf(int(m.ValueSize()), reflect.TypeFor[byte]()))
	return walkBatches(m, func(n int) any { return reflect.MakeSlice(values, n, n).Interface() }, func(keys []K, _ any) {
		for _, key := range keys {
			visit(key)
		}
	})
}

func walkBatches[K, Values any](m *ebpf.Map, room func(n int) Values, visit func([]K, Values)) error {
	const most = 1 << 20 // bytes of values at once
	n := min(max(most/int(m.ValueSize()), 16), 4096)
	keys, values := make([]K, n), room(n)
	var cursor ebpf.MapBatchCursor
	for {
		got, err := m.BatchLookup(&cursor, keys, values, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		switch {
		case errors.Is(err, unix.ENOSPC): // one bucket has more
			n *= 2
			keys, values = make([]K, n), room(n)
			continue
		case err != nil && !end:
			return err
		}
		visit(keys[:got], values)
		if end {
			return nil
		}
	}
}
