package gobin

import (
	"os"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// DWARF counts decompressed; what is no ELF file is nothing.
func TestFootprint(t *testing.T) {
	of := func(flags ...string) uint64 {
		file, err := os.Open(testprog.Build(t, fuzzProgram, testprog.Options{Flags: flags}))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		return Footprint(file)
	}
	whole, plain, none := of(), of("-ldflags=-compressdwarf=false"), of("-ldflags=-w")
	if whole != plain || none >= whole || none < 24<<20 || whole > 64<<20 {
		t.Errorf("%d bytes, %d uncompressed, %d without DWARF", whole, plain, none)
	}
	if got := Footprint(strings.NewReader("#!/bin/sh")); got != 0 {
		t.Errorf("%d bytes for a script", got)
	}
}

// What spans need of a file is there after Release.
func TestRelease(t *testing.T) {
	f := open(t, testprog.Build(t, fuzzProgram, testprog.Options{}))
	fn := f.Functions()[0]
	m, err := f.module.load(func() (moduledata, error) { return f.findModule(f.table.addr) })
	if err != nil {
		t.Fatal(err)
	}
	names := map[uint64]string{}
	for at := m.types.start; at < m.types.end; at += 8 {
		if name, err := f.TypeName(at); err == nil {
			names[at] = name
		}
	}
	f.Release()
	if len(f.Functions()) != 0 {
		t.Error("functions after Release")
	}
	if _, err := f.Signature(&fn); err == nil || !strings.Contains(err.Error(), "released") {
		t.Errorf("Signature: %v", err)
	}
	for at, want := range names {
		if name, err := f.TypeName(at); err != nil || name != want {
			t.Errorf("TypeName(%#x) = %q, %v; want %q", at, name, err, want)
		}
	}
	if len(names) == 0 {
		t.Error("no names of types")
	}
}
