package gobin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// NameAt is the name of the function that has code at an address, as tracebacks
// print it. It looks into the function table of the file, so that it works
// without Functions, after Release, too; it reads some hundred bytes.
func (f *File) NameAt(addr uint64) (string, error) {
	fn, err := f.functionAt(addr)
	return fn.Name, err
}

// functionAt is Lookup without Functions: of the function at an address it knows
// Entry, End, Symbol, Name, Wrapper, SPWrite and C.
func (f *File) functionAt(addr uint64) (Function, error) {
	fn, err := f.searchFunction(addr)
	if err != nil {
		return Function{}, fmt.Errorf("name the function at %#x: %w", addr, err)
	}
	return fn, nil
}

func (f *File) searchFunction(addr uint64) (Function, error) {
	t := &f.table
	if addr < t.text || addr-t.text > 1<<32-1 {
		return Function{}, errors.New("it is not in the code")
	}
	entry := func(i uint64) (offset, record uint64, err error) {
		p, err := f.view(t.records.start+i*tableEntry, tableEntry)
		if err != nil {
			return 0, 0, err
		}
		return uint64(binary.LittleEndian.Uint32(p)), uint64(binary.LittleEndian.Uint32(p[4:])), nil
	}
	// The last entry at or below the address.
	low, high := uint64(0), t.count
	for high-low > 1 {
		middle := low + (high-low)/2
		offset, _, err := entry(middle)
		if err != nil {
			return Function{}, err
		}
		if offset <= addr-t.text {
			low = middle
		} else {
			high = middle
		}
	}
	start, record, err := entry(low)
	if err != nil {
		return Function{}, err
	}
	end, _, err := entry(low + 1)
	if err != nil {
		return Function{}, err
	}
	if addr-t.text < start || addr-t.text >= end {
		return Function{}, errors.New("it is not in the code")
	}
	head, err := f.view(t.records.start+record, t.recordSize)
	if err != nil {
		return Function{}, err
	}
	symbol, err := f.nameAt(binary.LittleEndian.Uint32(head[4:]))
	if err != nil {
		return Function{}, err
	}
	c := binary.LittleEndian.Uint32(head[16:]) == 0 // as in tableReader.function
	return Function{
		Entry:   t.text + start,
		End:     t.text + end,
		Symbol:  symbol,
		Name:    printName(symbol),
		SPWrite: head[t.recordSize-3]&spWriteFlag != 0 || c,
		C:       c,
		top:     head[t.recordSize-3]&topFrameFlag != 0,
		Wrapper: f.wrapperID != 0 && head[t.recordSize-4] == f.wrapperID,
		record:  uint32(record),
	}, nil
}

// nameAt is the name at an offset in the function table's names.
func (f *File) nameAt(offset uint32) (string, error) {
	const maxName = 1 << 12
	names := &f.table.names
	if uint64(offset) >= names.size() {
		return "", errors.New("its name is outside the table")
	}
	text, err := f.view(names.start+uint64(offset), min(maxName, names.size()-uint64(offset)))
	if err != nil {
		return "", err
	}
	name, _, _ := bytes.Cut(text, []byte{0})
	return string(name), nil
}
