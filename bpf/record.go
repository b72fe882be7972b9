package bpf

import (
	"fmt"
	"iter"
	"unsafe"
)

// A Record is one event and the captured values behind it.
type Record struct {
	Event
	// Values are the captured arguments, then the results: see AllValues.
	Values []byte
}

// ParseRecord reads what the ring buffer holds for one event. Values points
// into raw. The event's kind is not checked.
func ParseRecord(raw []byte) (Record, error) {
	const size = int(unsafe.Sizeof(Event{}))
	if len(raw) < size {
		return Record{}, fmt.Errorf("parse event: %d bytes, at least %d expected", len(raw), size)
	}
	record := Record{Event: load[Event](raw), Values: raw[size:]}
	// The ring pads records to 8 bytes.
	if used := int(record.Args) + int(record.Results); used <= len(record.Values) {
		record.Values = record.Values[:used]
		return record, nil
	}
	return Record{}, fmt.Errorf("parse event: %d bytes of values, %d+%d expected",
		len(record.Values), record.Args, record.Results)
}

// AllValues are the captured values of a record with the bytes that follow
// each. It stops in front of a value that is cut short.
func AllValues(values []byte) iter.Seq2[Value, []byte] {
	return func(yield func(Value, []byte) bool) {
		const size = int(unsafe.Sizeof(Value{}))
		for len(values) >= size {
			value := load[Value](values)
			values = values[size:]
			if uint64(value.Size) > uint64(len(values)) {
				return
			}
			if !yield(value, values[:value.Size]) {
				return
			}
			values = values[min((int(value.Size)+7)&^7, len(values)):]
		}
	}
}

// load copies a T out of the front of raw, which is at least as long: both
// sides of the ring have the same byte order and layout.
func load[T any](raw []byte) T {
	var t T
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t)), raw)
	return t
}
