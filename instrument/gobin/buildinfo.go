package gobin

import (
	"debug/buildinfo"
	"encoding/binary"
	"runtime/debug"
)

// searchBuildInfo finds the build information in an executable without section
// headers, in whatever segment a C linker has put it. From Go 1.18 on it is a
// header of 32 bytes and two strings behind their lengths, the version and the
// modules (debug/buildinfo, cmd/link/internal/ld.(*Link).buildinfo). failure is
// the error where there is none.
func (f *File) searchBuildInfo(failure error) (*buildinfo.BuildInfo, error) {
	const (
		magic     = "\xff Go buildinf:"
		align     = 16
		header    = 32
		flags     = 15
		inline    = 2
		guard     = 16 // bytes of a mark in front of the modules and behind them
		maxLength = 1 << 20
	)
	read := func(addr uint64) (string, uint64) {
		var length [binary.MaxVarintLen64]byte
		if f.ReadAddr(length[:], addr) != nil {
			return "", 0
		}
		n, size := binary.Uvarint(length[:])
		if size <= 0 || n > maxLength {
			return "", 0
		}
		text, err := f.readAlloc(addr+uint64(size), n)
		if err != nil {
			return "", 0
		}
		return string(text), addr + uint64(size) + n
	}
	var info *buildinfo.BuildInfo
	err := f.searchData([]byte(magic), align, func(addr uint64) bool {
		var head [header]byte
		if f.ReadAddr(head[:], addr) != nil || head[flags]&inline == 0 {
			return false
		}
		version, next := read(addr + header)
		if version == "" {
			return false
		}
		modules, _ := read(next)
		if len(modules) < 2*guard {
			modules = ""
		} else {
			modules = modules[guard : len(modules)-guard]
		}
		parsed, err := debug.ParseBuildInfo(modules)
		if err != nil {
			return false
		}
		parsed.GoVersion, info = version, parsed
		return true
	})
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, failure
	}
	return info, nil
}
