package plan

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

// partly is a program whose function `some` is inlined at 12 of its 15 call sites: a
// function as large as big calls it (the compiler's inlineBigFunctionNodes). `every`
// is inlined wherever it is called, and called through a variable; `gone` is nowhere
// else.
func partly() string {
	var b strings.Builder
	b.WriteString(`-- go.mod --
module m
go 1.18
-- main.go --
package main

var sink, table = 0, [64]int{}

func some(n int) int { for i := range table { sink += table[i&7]*n ^ i; table[n&63] += sink ^ n; sink -= i * 3 }; return sink }

func every(n int) int { sink ^= n; return sink + n }

var through = every

func gone(n int) int { sink |= n; return sink - n }

//go:noinline
func big(n int) int {
`)
	for i := range 1500 {
		fmt.Fprintf(&b, "\ttable[%d] += n*%d + sink ^ table[%d]\n", i%64, i+3, (i+7)%64)
	}
	b.WriteString("\treturn some(1) + some(n) + some(sink)\n}\n")
	for i := range 12 {
		fmt.Fprintf(&b, "\n//go:noinline\nfunc caller%d(n int) int { return some(n+%d) }\n", i, i)
	}
	b.WriteString("\nfunc main() {\n\tthrough(gone(1) + every(2) + every(3) + gone(4) + big(5))\n")
	for i := range 12 {
		fmt.Fprintf(&b, "\tcaller%d(%d)\n", i, i)
	}
	b.WriteString("}\n")
	return b.String()
}

// A list says of a function how many of its calls are inlined, as DWARF does, and of
// how many.
func TestInlined(t *testing.T) {
	source := partly()
	for _, version := range testprog.Versions() {
		for _, arch := range []string{"amd64", "arm64"} {
			for _, strip := range []bool{false, true} {
				o := testprog.Options{GoVersion: version, GOARCH: arch, Strip: strip && arch == "amd64"}
				if strip && arch != "amd64" { // strip is the machine's own
					o.Flags = []string{"-ldflags=-s -w"}
				}
				t.Run(o.String(), func(t *testing.T) {
					path := testprog.Build(t, source, o)
					file, err := gobin.Open(path)
					if err != nil {
						t.Fatal(err)
					}
					defer file.Close()
					p, err := Build(file, Rules{Patterns: []string{"main.*"}, Look: true})
					if err != nil {
						t.Fatal(err)
					}
					inlined := make(map[string]int)
					if !strip {
						inlined = inlinedByDWARF(t, path)
					}
					found := 0
					for l := range p.List {
						text := l.Refused + strings.Join(l.Notes(), "")
						want, ok := map[string]string{
							"main.some":  "inlined at 12 of 15 call sites; those calls make no span",
							"main.every": "inlined at 2 of 2 call sites; those calls make no span",
							"main.gone":  "inlined at all 2 call sites: no call of it is left",
						}[l.Name]
						switch {
						case ok && !strings.Contains(text, want):
							t.Errorf("%s: %q, want %s", l.Name, text, want)
						case ok:
							found++
						case l.Inlined != 0:
							t.Errorf("%s: inlined %d times", l.Name, l.Inlined)
						}
						if !strip && l.Inlined != inlined[l.Name] {
							t.Errorf("%s: inlined %d times, and DWARF says %d", l.Name, l.Inlined, inlined[l.Name])
						}
					}
					if found != 3 {
						t.Errorf("%d functions of three", found)
					}
				})
			}
		}
	}
}

// inlinedByDWARF is how often functions are inlined.
func inlinedByDWARF(t *testing.T, path string) map[string]int {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data, err := file.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[dwarf.Offset]string)
	origins := make(map[dwarf.Offset]int)
	for r := data.Reader(); ; {
		entry, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if entry == nil {
			break
		}
		switch entry.Tag {
		case dwarf.TagSubprogram:
			names[entry.Offset], _ = entry.Val(dwarf.AttrName).(string)
		case dwarf.TagInlinedSubroutine:
			if origin, ok := entry.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
				origins[origin]++
			}
		}
	}
	counts := make(map[string]int)
	for origin, n := range origins {
		counts[names[origin]] += n
	}
	return counts
}
