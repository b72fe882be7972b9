package gobin

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

// Every place where a pc-value table changes its value begins an instruction, as
// does every target of a jump within a function.
func TestBodiesAgreeWithTheTables(t *testing.T) {
	matrix(t, func(t *testing.T, _ testprog.Options, f *File) { checkBodies(t, f) })
	t.Run("go", func(t *testing.T) { checkBodies(t, open(t, goCommand(t))) })
	t.Run("arm64", func(t *testing.T) { checkBodies(t, open(t, largeARM64(t))) })
}

func checkBodies(t *testing.T, f *File) {
	undecoded := 0
	for i := range f.Functions() {
		fn := &f.Functions()[i]
		body, err := f.Body(fn)
		if err != nil {
			t.Fatal(err)
		}
		starts := map[uint64]bool{}
		next := fn.Entry
		for _, in := range body.Instructions {
			if in.Addr != next || len(in.Bytes) == 0 {
				t.Fatalf("%s: an instruction at %#x, not at %#x", fn.Symbol, in.Addr, next)
			}
			starts[in.Addr] = true
			next = in.Addr + uint64(len(in.Bytes))
		}
		if body.Undecoded != 0 {
			undecoded++
			if body.Undecoded != next || !fn.Assembly && !fn.C {
				t.Errorf("%s: undecoded at %#x", fn.Symbol, body.Undecoded)
			}
			continue
		}
		padding := make([]byte, fn.End-next)
		if err := f.ReadAddr(padding, next); err != nil && next < fn.End {
			t.Fatal(err)
		}
		fill := "\xcc"
		if f.Arch == ARM64 {
			fill = "\x00"
		}
		if len(bytes.Trim(padding, fill)) != 0 {
			t.Errorf("%s: %x behind its code", fn.Symbol, padding)
		}
		if fn.C {
			continue
		}
		for _, in := range body.Instructions {
			if in.Target >= fn.Entry && in.Target < next && !starts[in.Target] {
				t.Errorf("%s: %#x leads to %#x, which is inside an instruction", fn.Symbol, in.Addr, in.Target)
			}
		}
		checkTables(t, f, fn, body, starts, next)
	}
	if f.Arch == ARM64 && undecoded > 0 || undecoded > 20 {
		t.Errorf("%d functions are not decoded", undecoded)
	}
}

func checkTables(t *testing.T, f *File, fn *Function, body *Body, starts map[uint64]bool, end uint64) {
	r, err := f.record(fn)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []uint32{r.spTable, r.fileTab, r.inlining} {
		if table == 0 {
			continue
		}
		runs, err := f.runs(fn, table)
		if err != nil {
			t.Errorf("%s: %v", fn.Symbol, err)
		}
		for _, run := range runs {
			if !starts[run.end] && run.end < end {
				t.Errorf("%s: a table changes at %#x, inside an instruction", fn.Symbol, run.end)
			}
		}
	}
	if fn.Assembly || fn.SPWrite {
		return
	}
	for _, in := range body.Instructions {
		leaves := in.Kind == Jump && (in.Target < fn.Entry || in.Target >= fn.End)
		if in.Kind != PushFrame && in.Kind != Return && !leaves {
			continue
		}
		if delta, ok := f.StackDelta(fn, in.Addr); !ok || delta != 0 {
			t.Errorf("%s: the stack pointer is %d below the entry's at %#x, %t", fn.Symbol, delta, in.Addr, ok)
		}
	}
}

func TestInstructions(t *testing.T) {
	const addr = 0x401000
	for _, test := range []struct {
		code     string
		kind     Kind
		target   uint64
		emulated bool
		refused  string
	}{
		{"55", PushFrame, 0, true, ""},
		{"50", Plain, 0, true, ""},
		{"4154", Plain, 0, true, ""},    // PUSHQ R12
		{"4855", Plain, 0, false, ""},   // PUSHQ BP with a REX.W that the kernel does not know
		{"6655", Plain, 0, false, ""},   // PUSHW BP
		{"ff7508", Plain, 0, false, ""}, // PUSHQ 8(BP)
		{"5d", Plain, 0, false, ""},
		{"c3", Return, 0, false, ""},
		{"c20800", Return, 0, false, ""},
		{"f3c3", Return, 0, false, ""},
		{"eb02", Jump, addr + 4, true, ""},
		{"e9fbffffff", Jump, addr, true, ""},
		{"76fe", CondJump, addr, true, ""},
		{"0f8600010000", CondJump, addr + 6 + 0x100, true, ""},
		{"660f8600010000", CondJump, 0, false, "branch with an operand-size prefix"},
		{"e3fe", CondJump, addr, false, ""}, // JRCXZ
		{"e2fe", CondJump, addr, false, ""}, // LOOP
		{"e800010000", Call, addr + 5 + 0x100, true, ""},
		{"ff12", CallIndirect, 0, false, ""},
		{"ffd1", CallIndirect, 0, false, ""},
		{"ffe1", JumpRegister, 0, false, ""},
		{"41ffe3", JumpRegister, 0, false, ""},
		{"ff24c1", JumpMemory, 0, false, ""},
		{"90", Nop, 0, true, ""},
		{"6690", Nop, 0, true, ""},
		{"0f1f4000", Nop, 0, true, ""},
		{"0f1f440000", Nop, 0, true, ""},
		{"660f1f440000", Nop, 0, true, ""},
		{"0f1f8400000000" + "00", Nop, 0, true, ""},
		{"660f1f840000000000", Nop, 0, false, ""},
		{"662e0f1f840000000000", Nop, 0, false, "segment prefix"},
		{"f390", Plain, 0, false, ""}, // PAUSE
		{"0f0b", Trap, 0, false, "undefined"},
		{"cc", Trap, 0, false, "interrupt"},
		{"cd80", Trap, 0, false, "interrupt"},
		{"f00fc108", Plain, 0, false, "LOCK prefix"},
		{"f0480fb10b", Plain, 0, false, "LOCK prefix"},
		{"0f05", Plain, 0, false, "system call"},
		{"f4", Plain, 0, false, "privileged"},
		{"8ed0", Plain, 0, false, "load of the stack segment"},
		{"644c8b3425f8ffffff", Plain, 0, false, ""}, // MOVQ FS:-8, R14
		{"493b6610", Plain, 0, false, ""},           // CMPQ SP, 16(R14)
	} {
		code, err := hex.DecodeString(test.code)
		if err != nil {
			t.Fatal(err)
		}
		body := decode(code, addr)
		if len(body.Instructions) != 1 || body.Undecoded != 0 {
			t.Errorf("%s: %+v", test.code, body)
			continue
		}
		in := body.Instructions[0]
		if !bytes.Equal(in.Bytes, code) || in.Addr != addr || in.Kind != test.kind || in.Emulated != test.emulated || in.Refused != test.refused {
			t.Errorf("%s: %+v", test.code, in)
		}
		if test.target != 0 && in.Target != test.target {
			t.Errorf("%s: leads to %#x, want %#x", test.code, in.Target, test.target)
		}
	}
}

func TestDecodeStopsAtWhatItDoesNotKnow(t *testing.T) {
	// PUSHQ BP; a byte that begins nothing in 64-bit mode; RET.
	body := decode([]byte{0x55, 0x06, 0xc3}, 0x1000)
	if len(body.Instructions) != 1 || body.Undecoded != 0x1001 {
		t.Errorf("%+v", body)
	}
	// An instruction that is cut off.
	if body := decode([]byte{0xe8, 0}, 0x1000); len(body.Instructions) != 0 || body.Undecoded != 0x1000 {
		t.Errorf("%+v", body)
	}
	// Padding is left out, but not a body that is INT3.
	if body := decode([]byte{0xc3, 0xcc, 0xcc}, 0x1000); len(body.Instructions) != 1 || body.Undecoded != 0 {
		t.Errorf("%+v", body)
	}
	if body := decode([]byte{0xcc, 0xcc}, 0x1000); len(body.Instructions) != 1 || body.Instructions[0].Kind != Trap {
		t.Errorf("%+v", body)
	}
}

func decode(code []byte, addr uint64) *Body {
	body := &Body{}
	body.decodeAMD64(code, addr)
	return body
}
