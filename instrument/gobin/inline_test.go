package gobin

import (
	"runtime"
	"strings"
	"testing"
)

// The runtime that runs this test says the same of its own code: which function it
// was written in, and where.
func TestFramesAgreeWithRuntime(t *testing.T) {
	f, err := Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bias := uint64(funcEntry(t)) - find(t, f, "github.com/uspan/uspan/instrument/gobin.TestFramesAgreeWithRuntime").Entry
	compared, inlined := 0, 0
	functions := f.Functions()
	f.Release() // what comes now does without
	for i := 0; i < len(functions); i += 11 {
		fn := &functions[i]
		if fn.C || strings.HasPrefix(fn.Symbol, "go:") {
			continue
		}
		for addr := fn.Entry; addr+1 < fn.End; addr += 13 {
			frames := f.Frames(addr)
			if len(frames) == 0 {
				t.Fatalf("no frames at %#x of %s", addr, fn.Symbol)
			}
			want, _ := runtime.CallersFrames([]uintptr{uintptr(addr + bias + 1)}).Next()
			got := frames[0]
			if want.Line != 0 && want.Function != "" && (got.Function != printName(want.Function) || got.File != want.File || got.Line != want.Line) {
				t.Errorf("%#x of %s: %s at %s:%d, runtime says %s at %s:%d", addr, fn.Symbol,
					got.Function, got.File, got.Line, want.Function, want.File, want.Line)
				break
			}
			if last := frames[len(frames)-1]; last.Inlined || last.Function != fn.Name || last.Entry != fn.Entry {
				t.Errorf("%#x of %s: the last frame is %+v", addr, fn.Symbol, last)
			}
			compared++
			inlined += len(frames) - 1
		}
	}
	if compared < 1000 || inlined < 1000 {
		t.Errorf("%d places with %d inlined frames compared", compared, inlined)
	}
	if frames := f.Frames(1); frames != nil {
		t.Errorf("frames at 1: %v", frames)
	}
}

func funcEntry(t *testing.T) uintptr {
	t.Helper()
	pc, _, _, _ := runtime.Caller(1)
	return runtime.FuncForPC(pc).Entry()
}
