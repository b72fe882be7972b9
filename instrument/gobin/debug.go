package gobin

import "errors"

// ErrNoDWARF says that a file has no DWARF: it was built with -ldflags=-w or -s,
// or stripped.
var ErrNoDWARF = errors.New("no DWARF: build without -ldflags=-w or -s, and do not strip")

type debugInfo struct{}

func (f *File) goidFromDWARF() (uint64, error) { return 0, ErrNoDWARF }
