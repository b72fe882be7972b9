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
	var info []byte
	read := func(addr uint64) bool {
		var err error
		info, err = f.readRelocated(addr, sections+16)
		return err == nil && bytes.HasPrefix(info, []byte(magic))
	}
	if s, ok := f.section(".go.fipsinfo"); ok {
		if !read(s.Addr) {
			return span{}
		}
	} else if len(f.elf.Sections) > 0 || f.searchData([]byte(magic), 8, read) != nil || info == nil {
		return span{}
	}
	text := span{binary.LittleEndian.Uint64(info[sections:]), binary.LittleEndian.Uint64(info[sections+8:])}
	if text.start == 0 || text.end < text.start {
		return span{}
	}
	return text
}
