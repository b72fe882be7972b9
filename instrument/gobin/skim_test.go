package gobin

import (
	"debug/dwarf"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// Units are skimmed as debug/dwarf reads them: DWARF 4 and 5, and that of C.
func TestSkim(t *testing.T) {
	for _, options := range []testprog.Options{
		{GoVersion: "go1.21.13"},
		{GoVersion: "go1.27.1"},
		{GoVersion: "go1.27.1", Flags: []string{"-buildmode=pie", "-ldflags=-linkmode=external"}, Cgo: true},
	} {
		t.Run(options.String(), func(t *testing.T) {
			f := open(t, testprog.Build(t, dictionaryProgram, options))
			d, err := f.dwarf()
			if err != nil {
				t.Fatal(err)
			}
			entries := 0
			for _, u := range d.units {
				r := d.data.Reader()
				r.Seek(u.root)
				read := func() *dwarf.Entry {
					e, err := r.Next()
					if err != nil {
						t.Fatal(err)
					}
					return e
				}
				at := 0
				err := d.skimmer.skim(u, func(offset dwarf.Offset, tag dwarf.Tag, depth int) {
					e := read()
					for ; e != nil && e.Tag == 0; e = read() {
						at--
					}
					if e == nil || e.Offset != offset || e.Tag != tag || at != depth {
						t.Fatalf("%v at %#x, %d deep, where %+v is, %d deep", tag, offset, depth, e, at)
					}
					if e.Children {
						at++
					}
					entries++
				})
				if err != nil {
					t.Fatal(err)
				}
				for ; at > 0; at-- {
					if e := read(); e == nil || e.Tag != 0 {
						t.Fatalf("unit at %#x: %+v was left out", u.root, e)
					}
				}
			}
			if entries < 10000 {
				t.Errorf("%d entries", entries)
			}
		})
	}
}
