package gobin

import (
	"os"
	"testing"
)

func TestNames(t *testing.T) {
	for _, test := range []struct{ symbol, name, path string }{
		{"main.main", "main.main", "main"},
		{"main.main.func1", "main.main.func1", "main"},
		{"net/http.(*conn).serve", "net/http.(*conn).serve", "net/http"},
		{"gopkg.in/yaml%2ev3.Marshal", "gopkg.in/yaml.v3.Marshal", "gopkg.in/yaml.v3"},
		{"gopkg.in/yaml%2ev3.(*Decoder).Decode", "gopkg.in/yaml.v3.(*Decoder).Decode", "gopkg.in/yaml.v3"},
		{"example.com/a%25b/c%22%c3%a9.F", "example.com/a%b/c\"é.F", "example.com/a%b/c\"é"},
		{"main.Map[go.shape.int]", "main.Map[...]", "main"},
		{"main.Map[go.shape.struct { a/b%2ec.T }].func1", "main.Map[...].func1", "main"},
		{"main.(*List[example.com/x%2ey.T]).Push", "main.(*List[...]).Push", "main"},
		{"a/b%2ec.F[go.shape.[]uint8,d/e.T]", "a/b.c.F[...]", "a/b.c"},
		{"slices.SortFunc[go.shape.[]main.T,go.shape.struct {}]", "slices.SortFunc[...]", "slices"},
		{"vendor/golang.org/x/net/idna.init", "vendor/golang.org/x/net/idna.init", "vendor/golang.org/x/net/idna"},
		{"main.glob..func1", "main.glob..func1", "main"},
		{"main.(*T).M-fm", "main.(*T).M-fm", "main"},
		{"type:.eq.main.T", "type:.eq.main.T", ""},
		{"type:.eq.struct { F uintptr; X0 [2]string }", "type:.eq.struct { F uintptr; X0 [...]string }", ""},
		{"go:struct { io.Reader }.Read", "go:struct { io.Reader }.Read", ""},
		{"_rt0_amd64_linux", "_rt0_amd64_linux", ""},
		{"bad]order[", "bad]order[", ""},
		{"p%2", "p%2", ""},
		{"p%zz/q%2.F", "p%zz/q%2.F", "p%zz/q%2"},
		{"", "", ""},
	} {
		if got := printName(test.symbol); got != test.name {
			t.Errorf("%q prints as %q, want %q", test.symbol, got, test.name)
		}
		if got := packagePath(test.symbol); got != test.path {
			t.Errorf("%q is of package %q, want %q", test.symbol, got, test.path)
		}
	}
}

func TestTakesDictionary(t *testing.T) {
	for symbol, want := range map[string]bool{
		"main.main":                                        false,
		"main.Map[go.shape.int]":                           true,
		"main.Map[go.shape.int].func1":                     false,
		"main.Map[go.shape.int].func1.gowrap2":             false,
		"main.Map[go.shape.int].deferwrap1":                false,
		"main.Map[go.shape.int]-range1":                    false,
		"main.(*List[go.shape.string]).Push":               true,
		"main.(*List[go.shape.string]).Push.func1":         false,
		"main.(*List[go.shape.string]).Push-range1":        false,
		"main.List[go.shape.string].Len":                   true,
		"main.List[go.shape.string].functional":            true,
		"main.List[go.shape.string].Len-fm":                false,
		"main.(*List[string]).Push":                        false,
		"type:.eq.sync/atomic.Pointer[go.shape.struct {}]": false,
		"main.]odd[go.shape.":                              false,
	} {
		if got := takesDictionary(symbol); got != want {
			t.Errorf("%s: %t", symbol, got)
		}
	}
}

// Every function is found by its addresses without the list of all.
func TestNameAt(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, fn := range f.Functions() {
		for _, addr := range []uint64{fn.Entry, fn.End - 1} {
			if name, err := f.NameAt(addr); name != fn.Name || err != nil {
				t.Fatalf("%#x is in %q, %v; want %q", addr, name, err, fn.Name)
			}
		}
	}
	for _, addr := range []uint64{0, 1 << 50} {
		if name, err := f.NameAt(addr); err == nil {
			t.Errorf("%#x is in %s", addr, name)
		}
	}
}
