package gobin

//go:generate go run ../../internal/offsets -o offsets_table.go

import (
	"fmt"
	"strings"
)

// Offsets are where fields lie in the structs of the runtime
// (src/runtime/runtime2.go), in bytes. A field that this release of Go has not
// got, or whose place is not known, has the offset 0, which none of them has.
type Offsets struct {
	// Fields of runtime.g: its number, its thread, its innermost panic, the
	// number of the goroutine that made it (from Go 1.21 on), the return address
	// of the `go` statement, and the entry of its first function.
	Goid, M, Panic, ParentGoid, Gopc, Startpc uint64
	// Fields of runtime.m: the goroutine that a thread runs, and its processor.
	Curg, P uint64
	// GoidCache, a field of runtime.p, is the number that the next goroutine will
	// have. The field behind it is goidcacheend, which no goroutine will have.
	GoidCache uint64
	// PanicSP, a field of runtime._panic, is from Go 1.22 on the stack pointer of
	// the frame whose deferred functions a panic calls, which is where it goes on
	// when it is recovered.
	PanicSP uint64
	// Sigcode0, a field of runtime.g, is where before Go 1.22 that stack pointer is
	// handed to runtime.recovery.
	Sigcode0 uint64
}

// Panics says whether the stack pointer can be found that a panic returns to.
func (o Offsets) Panics() bool { return o.Panic != 0 && o.PanicSP != 0 || o.Sigcode0 != 0 }

// GoStatements says whether a `go` statement can be followed to its goroutine.
func (o Offsets) GoStatements() bool {
	return o.M != 0 && o.P != 0 && o.GoidCache != 0 && o.Gopc != 0
}

// A field is one of Offsets by the name that the runtime has for it.
type field struct {
	record, name string
	offset       *uint64
}

// fields lists o, in the order of the generated table.
func (o *Offsets) fields() []field {
	return []field{
		{"g", "_panic", &o.Panic},
		{"g", "m", &o.M},
		{"g", "goid", &o.Goid},
		{"g", "parentGoid", &o.ParentGoid},
		{"g", "gopc", &o.Gopc},
		{"g", "startpc", &o.Startpc},
		{"m", "curg", &o.Curg},
		{"m", "p", &o.P},
		{"p", "goidcache", &o.GoidCache},
		{"_panic", "sp", &o.PanicSP},
		{"g", "sigcode0", &o.Sigcode0},
	}
}

// String lists what is known: `g.goid 152, g.m 48`.
func (o Offsets) String() string {
	var known []string
	for _, f := range o.fields() {
		if *f.offset != 0 {
			known = append(known, fmt.Sprintf("%s.%s %d", f.record, f.name, *f.offset))
		}
	}
	return strings.Join(known, ", ")
}

// A Source says where Offsets come from.
type Source string

// Sources, the best first.
const (
	// FromDWARF: the file's own DWARF says it.
	FromDWARF Source = "dwarf"
	// FromCode: the code of the file's own runtime uses them.
	FromCode Source = "code"
	// FromTable: a table over the releases of Go that is generated from the
	// DWARF of programs that were built with each.
	FromTable Source = "table"
)

// readOffsets asks the sources one after the other. What the code tells has to
// agree with the table where both know, which adds what the code does not tell.
// Where none of them knows Goid that is an error, rather than a guess.
func (f *File) readOffsets() (Offsets, Source, error) {
	described, err := f.offsetsFromDWARF()
	if err == nil {
		return described, FromDWARF, nil
	}
	read, unread := f.offsetsFromCode()
	listed, tabled := f.offsetsFromTable()
	switch {
	case unread == nil && tabled && !listed.agrees(read):
		return Offsets{}, "", fmt.Errorf("the code of its runtime says %s, other programs of %s have %s: "+
			"build it with DWARF (without -ldflags=-s, -w and strip)", read, f.GoVersion, listed)
	case unread == nil:
		read.add(listed)
		return read, FromCode, nil
	case tabled:
		return listed, FromTable, nil
	}
	return Offsets{}, "", fmt.Errorf("the layout of goroutines in %s is not known: build it with DWARF "+
		"(without -ldflags=-s, -w and strip), or update uspan (DWARF: %w; code: %w)", f.GoVersion, err, unread)
}

// agrees says whether all that both know is the same.
func (o Offsets) agrees(other Offsets) bool {
	theirs := other.fields()
	for i, f := range o.fields() {
		if *f.offset != 0 && *theirs[i].offset != 0 && *f.offset != *theirs[i].offset {
			return false
		}
	}
	return true
}

// add fills in what only other knows.
func (o *Offsets) add(other Offsets) {
	theirs := other.fields()
	for i, f := range o.fields() {
		if *f.offset == 0 {
			*f.offset = *theirs[i].offset
		}
	}
}

// plausible says whether every offset that is known is that of an aligned word
// in a struct of the runtime's size, and none is there twice.
func (o Offsets) plausible() bool {
	const maxRecord = 4096
	seen := make(map[string]bool)
	for _, f := range o.fields() {
		if *f.offset == 0 {
			continue
		}
		place := fmt.Sprint(f.record, *f.offset)
		if *f.offset >= maxRecord || *f.offset%8 != 0 || seen[place] {
			return false
		}
		seen[place] = true
	}
	return true
}

// offsetsFromTable is the table's word on a release. Versions that are none,
// between two releases or with an experiment, may have other structs.
func (f *File) offsetsFromTable() (Offsets, bool) {
	if !isRelease(f.GoVersion) {
		return Offsets{}, false
	}
	o, ok := offsetsTable[f.minor]
	return o, ok
}

// isRelease says whether a version is that of a release, such as "go1.26" or
// "go1.24.4 (Red Hat 1.24.4-1.el)", and not "go1.27rc1", "devel go1.28-0a1b2c3",
// "go1.27-devel_0a1b2c3" or "go1.26.8-X:nogreenteagc".
func isRelease(version string) bool {
	rest, ok := strings.CutPrefix(version, "go1.")
	end := strings.IndexAny(rest, " -")
	if end < 0 {
		end = len(rest)
	}
	number, suffix := rest[:end], rest[end:]
	return ok && strings.Trim(number, "0123456789.") == "" && !strings.Contains(suffix, "X:") && !strings.Contains(suffix, "devel")
}
