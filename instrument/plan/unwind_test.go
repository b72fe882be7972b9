package plan

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

// Where a release that nobody has looked at has its code in another way, the probes
// that need what is not known are left away alone, and the plan says so.
func TestUnknownOffsets(t *testing.T) {
	known := testprog.Build(t, spawning, testprog.Options{GoVersion: "go1.26.8", GOARCH: "amd64", Flags: []string{"-ldflags=-s -w"}})
	data, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte("go1.26.8"), []byte("go1.96.8"))
	for _, test := range []struct {
		name, symbol        string
		from                []byte // its last byte is changed
		unwatched, rootless string
	}{
		{name: "all as it was"},
		{
			name: "frames are compared otherwise", symbol: "runtime.(*_panic).nextDefer", from: []byte{0x48, 0x39, 0x5a, 0x08, 0x75},
			unwatched: "where a panic returns to is not known for go1.96.8",
		},
		{
			name: "processors are looked at otherwise", symbol: "runtime.releasepNoTrace", from: []byte{0x48, 0x85, 0xdb, 0x0f, 0x84},
			rootless: "how goroutines get their numbers is not known for go1.96.8",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(path, change(t, data, known, test.symbol, test.from), 0o755); err != nil {
				t.Fatal(err)
			}
			file, err := gobin.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			p, err := Build(file, Rules{Patterns: []string{"main.named"}})
			if err != nil {
				t.Fatal(err)
			}
			if p.Unwatched != test.unwatched || (len(p.Unwinding) > 0) != (test.unwatched == "") {
				t.Errorf("panics: %q, %d sites", p.Unwatched, len(p.Unwinding))
			}
			if p.Rootless != test.rootless || (len(p.GoSites) > 0) != (test.rootless == "") {
				t.Errorf("`go` statements: %q, %d sites", p.Rootless, len(p.GoSites))
			}
			text := printed(t, p)
			if !strings.Contains(text, test.unwatched) || !strings.Contains(text, test.rootless) {
				t.Error(text)
			}
		})
	}
}

// change changes the last of some bytes in a function of an executable.
func change(t *testing.T, data []byte, path, symbol string, from []byte) []byte {
	t.Helper()
	if symbol == "" {
		return data
	}
	file, err := gobin.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, fn := range file.Functions() {
		if fn.Symbol != symbol {
			continue
		}
		offset, _ := file.Offset(fn.Entry)
		code := data[offset : offset+fn.End-fn.Entry]
		if bytes.Count(code, from) != 1 {
			t.Fatalf("%s has not % x once", symbol, from)
		}
		changed := bytes.Clone(data)
		changed[int(offset)+bytes.Index(code, from)+len(from)-1] ^= 1 // a jump if not for one if
		return changed
	}
	t.Fatalf("no function %s", symbol)
	return nil
}
