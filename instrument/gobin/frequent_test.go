package gobin

import (
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// checkFrequent: what frequent decodes, x86asm decodes alike.
func checkFrequent(t *testing.T, code []byte, addr uint64) (frequently bool) {
	t.Helper()
	fast, ok := frequent(code, addr)
	if !ok {
		return false
	}
	slow, ok := decodeAny(code, addr)
	if !ok || len(fast.Bytes) != len(slow.Bytes) || fast.Kind != slow.Kind || fast.Target != slow.Target {
		t.Errorf("% x: %d bytes, %v to %#x; x86asm: %d bytes, %v to %#x (%t)", code[:min(16, len(code))],
			len(fast.Bytes), fast.Kind, fast.Target, len(slow.Bytes), slow.Kind, slow.Target, ok)
	}
	return true
}

// Every instruction of real executables is decoded as x86asm does, and nearly
// none is left to it.
func TestFrequent(t *testing.T) {
	check := func(t *testing.T, f *File) {
		if f.Arch != AMD64 {
			return // it is not asked
		}
		all, left := 0, 0
		for i := range f.Functions() {
			fn := &f.Functions()[i]
			if fn.C || fn.Assembly {
				continue
			}
			body, err := f.Body(fn)
			if err != nil {
				t.Fatal(err)
			}
			for _, in := range body.Instructions {
				all++
				if !checkFrequent(t, in.Bytes, in.Addr) {
					left++
				}
			}
		}
		if left > all/20 {
			t.Errorf("%d of %d instructions are left to x86asm", left, all)
		}
		t.Logf("%d of %d instructions are left to x86asm", left, all)
	}
	matrix(t, func(t *testing.T, _ testprog.Options, f *File) { check(t, f) })
	t.Run("go", func(t *testing.T) { check(t, open(t, goCommand(t))) })
}

// All opcodes behind all prefixes, with all ModRM bytes.
func TestFrequentOpcodes(t *testing.T) {
	prefixes := [][]byte{{}, {0x66}, {0xf2}, {0xf3}, {0x48}, {0x41}, {0x66, 0x48}, {0x66, 0x44}, {0xf2, 0x48}, {0xf3, 0x4c}, {0xf0}, {0x64}}
	known := 0
	for _, prefix := range prefixes {
		for _, escape := range [][]byte{{}, {0x0f}} {
			for opcode := range 256 {
				for modRM := range 256 {
					code := append(append(append([]byte{}, prefix...), escape...), byte(opcode), byte(modRM))
					code = append(code, 0x24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
					if checkFrequent(t, code, 0x1000) {
						known++
					}
					if t.Failed() {
						return
					}
				}
			}
		}
	}
	if known < 10000 {
		t.Errorf("only %d are known", known)
	}
}

func FuzzFrequent(f *testing.F) {
	f.Add([]byte{0x48, 0x8b, 0x44, 0x24, 0x08})
	f.Add([]byte{0x0f, 0x86, 1, 2, 3, 4})
	f.Add([]byte{0xf7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, code []byte) {
		for n := range len(code) + 1 { // cut off, too
			checkFrequent(t, code[:n], 0x401000)
		}
	})
}
