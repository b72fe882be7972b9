package bpf

import (
	"fmt"
	"unsafe"
)

// A Record is one event and the captured values behind it.
type Record struct {
	Event
	// Values are the captured arguments, then the results: see NextChunk.
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

// NextChunk is the first chunk of captured values, its bytes, and what is behind
// them. ok is false at the end, and where what is left is no chunk.
func NextChunk(values []byte) (chunk Chunk, bytes, rest []byte, ok bool) {
	const size = int(unsafe.Sizeof(Chunk{}))
	if len(values) < size {
		return Chunk{}, nil, nil, false
	}
	chunk, values = load[Chunk](values), values[size:]
	if int(chunk.Size) > len(values) || chunk.Good > chunk.Size {
		return Chunk{}, nil, nil, false
	}
	return chunk, values[:chunk.Size], values[min((int(chunk.Size)+7)&^7, len(values)):], true
}

// Add adds what was lost elsewhere.
func (c *uspanCounters) Add(other *Counters) {
	const n = unsafe.Sizeof(*c) / unsafe.Sizeof(uint64(0)) // every one is such a number
	sums, more := unsafe.Slice((*uint64)(unsafe.Pointer(c)), n), unsafe.Slice((*uint64)(unsafe.Pointer(other)), n)
	for i := range sums {
		sums[i] += more[i]
	}
}

// ParseOrigin is what a record of EventProcess says of the process.
func ParseOrigin(record *Record) (origin *Origin, ok bool) {
	if len(record.Values) < int(unsafe.Sizeof(Origin{})) {
		return nil, false
	}
	loaded := load[Origin](record.Values)
	return &loaded, int(loaded.Good) <= len(loaded.Environment)
}

// ParsePanic is the value of the panic that a record tells of, and the bytes
// behind it. ok is false where they are not all there.
func ParsePanic(record *Record) (value PanicValue, bytes []byte, ok bool) {
	const size = int(unsafe.Sizeof(PanicValue{}))
	if len(record.Values) < size {
		return value, nil, false
	}
	value, bytes = load[PanicValue](record.Values), record.Values[size:]
	if uint64(value.Size) > uint64(len(bytes)) {
		return value, nil, false
	}
	return value, bytes[:value.Size], true
}

// load copies a T out of the front of raw, which is at least as long: both
// sides of the ring have the same byte order and layout.
func load[T any](raw []byte) T {
	var t T
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t)), raw)
	return t
}
