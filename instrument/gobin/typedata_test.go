package gobin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// The runtime's data says of types what DWARF does.
func TestTypeData(t *testing.T) {
	for _, options := range relocated() {
		t.Run(options.String(), func(t *testing.T) {
			f := open(t, testprog.Build(t, dictionaryProgram, options))
			described, err := f.RuntimeTypes()
			if err != nil {
				t.Fatal(err)
			}
			listed, err := f.typesOfRuntime()
			if err != nil {
				t.Fatal(err)
			}
			byAddr := map[uint64]RuntimeType{}
			for _, rt := range listed {
				byAddr[rt.Addr] = rt
			}
			named, structs := 0, 0
			for _, rt := range described {
				found, ok := byAddr[rt.Addr]
				if !ok {
					t.Errorf("%s at %#x is not found", rt.Name, rt.Addr)
					continue
				}
				want, err := f.Type(rt)
				if err != nil {
					t.Fatal(err)
				}
				got, err := f.Type(found)
				if err != nil {
					t.Errorf("%s: %v", rt.Name, err)
					continue
				}
				// DWARF writes types without a name with whole import paths throughout,
				// and numbers those that are declared in functions.
				name, _, _ := strings.Cut(rt.Name, "·")
				if !strings.ContainsAny(name, " ({") && !strings.HasPrefix(name, "noalg.") && found.Name != name {
					t.Errorf("%s is called %s", rt.Name, found.Name)
				}
				named++
				if want.Kind == Struct {
					structs++
				}
				if difference := unlike(got, want, 3); difference != "" {
					t.Errorf("%s at %#x: %s", rt.Name, rt.Addr, difference)
				}
			}
			if named < 200 || structs < 50 {
				t.Errorf("%d types, %d structs", named, structs)
			}
			t.Logf("%d types, %d structs, as DWARF has them; %d look like types", named, structs, len(listed))
		})
	}
}

// unlike says how two types differ, so many types deep.
func unlike(got, want *Type, depth int) string {
	switch {
	case depth == 0 || got == nil && want == nil:
		return ""
	case got == nil || want == nil:
		return fmt.Sprintf("%v, not %v", got, want)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"kind", got.Kind, want.Kind}, {"size", got.Size, want.Size},
		{"alignment", got.Align < want.Align, false}, // DWARF does not tell that of atomic.align64
		{"length", got.Len, want.Len}, {"error", got.Error, want.Error}, {"number of fields", len(got.Fields), len(want.Fields)},
	} {
		if c.got != c.want {
			return fmt.Sprintf("%s %v, not %v", c.what, c.got, c.want)
		}
	}
	for i := range got.Fields {
		g, w := &got.Fields[i], &want.Fields[i]
		if g.Name != w.Name && !strings.HasSuffix(w.Name, "."+g.Name) || g.Offset != w.Offset || g.Embedded != w.Embedded {
			return fmt.Sprintf("field %d is %s at %d, embedded %t, not %s at %d, %t", i, g.Name, g.Offset, g.Embedded, w.Name, w.Offset, w.Embedded)
		}
		if difference := unlike(g.Type, w.Type, depth-1); difference != "" {
			return g.Name + ": " + difference
		}
	}
	for _, c := range []struct {
		what      string
		got, want *Type
	}{{"element", got.Elem, want.Elem}, {"key", got.Key, want.Key}} {
		if difference := unlike(c.got, c.want, depth-1); difference != "" {
			return c.what + ": " + difference
		}
	}
	if got.Impl != nil && want.Impl != nil && got.Impl.Size != want.Impl.Size || (got.Impl == nil) != (want.Impl == nil) {
		return fmt.Sprintf("implementation %v, not %v", got.Impl, want.Impl)
	}
	return ""
}
