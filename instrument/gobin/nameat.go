package gobin

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// NameAt is the name of the function that has code at an address, as tracebacks
// print it. It looks into the function table of the file, so that it works
// without Functions, after Release, too; it reads some hundred bytes.
func (f *File) NameAt(addr uint64) (string, error) {
	t := f.table
	if addr < t.text || addr-t.text > 1<<32-1 {
		return "", fmt.Errorf("name the function at %#x: it is not in the code", addr)
	}
	var entry [tableEntry]byte
	read := func(i uint64) (offset uint64, err error) {
		err = f.ReadAddr(entry[:], t.records.start+i*tableEntry)
		return uint64(binary.LittleEndian.Uint32(entry[:])), err
	}
	// The last entry at or below the address.
	low, high := uint64(0), t.count
	for high-low > 1 {
		middle := low + (high-low)/2
		offset, err := read(middle)
		if err != nil {
			return "", fmt.Errorf("name the function at %#x: %w", addr, err)
		}
		if offset <= addr-t.text {
			low = middle
		} else {
			high = middle
		}
	}
	if _, err := read(low); err != nil {
		return "", fmt.Errorf("name the function at %#x: %w", addr, err)
	}
	record := uint64(binary.LittleEndian.Uint32(entry[4:]))
	var head [8]byte // entry, offset of the name
	if err := f.ReadAddr(head[:], t.records.start+record); err != nil {
		return "", fmt.Errorf("name the function at %#x: %w", addr, err)
	}
	const maxName = 1 << 12
	at := uint64(binary.LittleEndian.Uint32(head[4:]))
	if at >= t.names.size() {
		return "", fmt.Errorf("name the function at %#x: its name is outside the table", addr)
	}
	text, err := f.readAlloc(t.names.start+at, min(maxName, t.names.size()-at))
	if err != nil {
		return "", fmt.Errorf("name the function at %#x: %w", addr, err)
	}
	name, _, _ := bytes.Cut(text, []byte{0})
	return printName(string(name)), nil
}
