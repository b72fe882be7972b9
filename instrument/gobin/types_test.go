package gobin

import (
	"debug/dwarf"
	"regexp"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// runtimeTypes lists the addresses of types by the names that DWARF has for
// them.
func runtimeTypes(t *testing.T, f *File) map[string]uint64 {
	t.Helper()
	const attrGoRuntimeType dwarf.Attr = 0x2904
	data, err := f.elf.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]uint64{}
	for r := data.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			return types
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		if addr, _ := e.Val(attrGoRuntimeType).(uint64); addr != 0 {
			types[name] = addr
		}
	}
}

// Types of a stripped executable have the names that DWARF gives them in one
// that is not stripped.
func TestTypeNames(t *testing.T) {
	source := shapes(t)
	// reflect.Type.String has the last part of an import path only.
	paths := regexp.MustCompile(`[\w.%-]+/`)
	// It also spells some things otherwise: `interface {}`, `go.shape.…`.
	odd := regexp.MustCompile(`go\.shape|struct \{|interface \{|func\(|noalg|map\.|hash<|bucket<|\[\.\.\.\]|·`)
	for _, version := range testprog.Versions() {
		for _, flags := range [][]string{nil, {"-buildmode=pie"}} {
			whole := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(whole.String(), func(t *testing.T) {
				stripped := whole
				stripped.Strip = true
				f := open(t, testprog.Build(t, source, stripped))
				types := runtimeTypes(t, open(t, testprog.Build(t, source, whole)))
				compared := 0
				module, err := f.findModule(f.table.addr)
				if err != nil {
					t.Fatal(err)
				}
				for name, addr := range types {
					if addr < module.types.size() {
						addr += module.types.start // newer linkers write an offset
					}
					got, err := f.TypeName(addr)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					if odd.MatchString(name) || odd.MatchString(got) || strings.Contains(name, "[") && strings.Contains(name, "/") {
						continue
					}
					compared++
					if want := paths.ReplaceAllString(name, ""); got != want {
						t.Errorf("%s at %#x is called %s", name, addr, got)
					}
				}
				if compared < 100 {
					t.Errorf("compared %d of %d types", compared, len(types))
				}
				if _, ok := types["*main.failure"]; !ok {
					t.Error("no *main.failure")
				}
			})
		}
	}
}

func TestTypeNameOfWhatIsNoType(t *testing.T) {
	f := open(t, goCommand(t))
	for _, addr := range []uint64{0, 1, find(t, f, "main.main").Entry, ^uint64(0), f.table.addr} {
		if name, err := f.TypeName(addr); err == nil {
			t.Errorf("what lies at %#x is called %q", addr, name)
		}
	}
}
