package gobin

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// isFIPSPackage stands in for the FIPS range where the linker left none.
func isFIPSPackage(path string) bool {
	const fips = "crypto/internal/fips140"
	return path == fips || strings.HasPrefix(path, fips+"/")
}

// fipsText is the code that crypto/internal/fips140/check hashes when a program
// starts: the first of the sections that go:fipsinfo lists
// (cmd/link/internal/ld/fips140.go, from Go 1.24 on).
func (f *File) fipsText() span {
	const (
		magic    = "\xff Go fipsinfo \xff\x00"
		sections = 16 + 32 + 8 // magic, sum, self
	)
	s, ok := f.section(".go.fipsinfo")
	if !ok {
		return span{}
	}
	info, err := f.readRelocated(s.Addr, sections+16)
	if err != nil || !bytes.HasPrefix(info, []byte(magic)) {
		return span{}
	}
	text := span{binary.LittleEndian.Uint64(info[sections:]), binary.LittleEndian.Uint64(info[sections+8:])}
	if text.start == 0 || text.end < text.start {
		return span{}
	}
	return text
}
