package gobin

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func words(words ...uint32) []byte {
	var code []byte
	for _, w := range words {
		code = binary.LittleEndian.AppendUint32(code, w)
	}
	return code
}

func decodeARM64(code []byte, addr uint64) *Body {
	var body Body
	body.decodeARM64(code, addr)
	return &body
}

func TestInstructionsARM64(t *testing.T) {
	const addr = 0x93000
	for _, test := range []struct {
		word     uint32
		kind     Kind
		target   uint64
		emulated bool
		refused  string
	}{
		{0xf81d0ffe, PushFrame, 0, false, ""}, // MOVD.W R30, -48(RSP)
		{0xf8030ffe, Plain, 0, false, ""},     // MOVD.W R30, 48(RSP)
		{0xf84307fe, Plain, 0, false, ""},     // MOVD.P 48(RSP), R30
		{0xd65f03c0, Return, 0, true, ""},
		{0xd65f0040, JumpRegister, 0, true, ""}, // RET (R2)
		{0xd61f0360, JumpRegister, 0, true, ""}, // JMP (R27)
		{0xd63f0060, CallIndirect, 0, true, ""},
		{0x94000002, Call, addr + 8, true, ""},
		{0x97fffffe, Call, addr - 8, true, ""},
		{0x14000004, Jump, addr + 16, true, ""},
		{0x54000209, CondJump, addr + 0x40, true, ""}, // BLS
		{0x540003a3, CondJump, addr + 0x74, true, ""}, // BLO
		{0xb4000060, CondJump, addr + 12, true, ""},   // CBZ
		{0x35ffffe1, CondJump, addr - 4, true, ""},    // CBNZW
		{0x36000066, CondJump, addr + 12, true, ""},   // TBZ
		{0xb7ffffc3, CondJump, addr - 8, true, ""},    // TBNZ
		{0x1000001b, Plain, 0, true, ""},              // ADR
		{0xf00001a3, Plain, 0, true, ""},              // ADRP
		{0xd503201f, Nop, 0, false, ""},
		{0xd503203f, Plain, 0, false, "hint"}, // YIELD
		{0xd503233f, Plain, 0, false, ""},     // PACIASP
		{0xd4000001, Plain, 0, false, "exception"},
		{0xd4200000, Trap, 0, false, "exception"},
		{0x00000000, Trap, 0, false, "undefined"},
		{0xbea71700, Trap, 0, false, "undefined"},
		{0xf9400b90, Plain, 0, false, ""},                        // MOVD 16(R28), R16
		{0xeb3063ff, Plain, 0, false, ""},                        // CMP R16, RSP
		{0x885ffc03, Plain, 0, false, "exclusive load or store"}, // LDAXRW
		{0x8804fc23, Plain, 0, false, "exclusive load or store"}, // STLXRW
		{0x88dffc00, Plain, 0, false, ""},                        // LDARW
		{0x889ffc01, Plain, 0, false, ""},                        // STLRW
		{0xc8fbfc5f, Plain, 0, false, ""},                        // CASALD
		{0xf8e40043, Plain, 0, false, ""},                        // LDADDALD
		{0xce6780c4, Plain, 0, false, ""},                        // SHA512H
		{0xd503415f, Plain, 0, false, "write of a system register"},
		{0xd51b4200, Plain, 0, false, "write of a system register"},
		{0xd53bd040, Plain, 0, false, ""}, // MRS TPIDR_EL0, R0
		{0xd503305f, Plain, 0, false, ""}, // CLREX
	} {
		body := decodeARM64(words(test.word), addr)
		if len(body.Instructions) != 1 || body.Undecoded != 0 {
			t.Errorf("%08x: %+v", test.word, body)
			continue
		}
		in := body.Instructions[0]
		if in.Kind != test.kind || in.Emulated != test.emulated || in.Refused != test.refused || in.Target != test.target {
			t.Errorf("%08x: %+v", test.word, in)
		}
	}
}

func TestDecodeARM64(t *testing.T) {
	const (
		addr    = 0x93000
		ret     = 0xd65f03c0
		load8   = 0x58000000 // MOVD n(PC), R0
		table   = 0xf860787b // MOVD (R3)(R0<<3), R27
		jump    = 0xd61f0360 // JMP (R27)
		self    = 0x14000000
		strange = 0x000111b0
	)
	forward := func(words uint32) uint32 { return words << 5 }
	for _, test := range []struct {
		name      string
		code      []byte
		kinds     []Kind
		undecoded uint64
	}{
		{"padding", words(ret, 0, 0), []Kind{Return}, 0},
		{"a constant that looks like RET", words(load8|forward(2), ret, ret, ret), []Kind{Plain, Return, Data, Data}, 0},
		{"constants between", words(load8|forward(2), 0x14000003, ret, ret, ret), []Kind{Plain, Jump, Data, Data, Return}, 0},
		{"a jump to a constant", words(load8|forward(2), 0x14000001, ret, ret, ret), []Kind{Plain, Jump}, addr + 8},
		{"a constant in front", words(ret, load8|0xffffe0), []Kind{Return}, addr + 4},
		{"a constant that is cut off", words(load8|forward(1), ret), nil, addr},
		{"a constant elsewhere", words(load8|forward(100), ret), []Kind{Plain, Return}, 0},
		{"nothing loads it, behind UNDEF", words(ret, 0xbea71700, ret, ret), []Kind{Return, Trap, Data, Data}, 0},
		{"nothing loads it, behind a jump to itself", words(ret, self, ret), []Kind{Return, Jump, Data}, 0},
		{"nothing loads it, behind the jump to the beginning", words(0x54000049, ret, 0x17fffffe, ret), []Kind{CondJump, Return, Jump, Data}, 0},
		{"nothing loads it, behind RET", words(ret, strange, strange), []Kind{Return, Data, Data}, 0},
		{"a branch behind a jump to itself", words(0x54000040, self, ret), []Kind{CondJump, Jump, Return}, 0},
		{"a branch to what is not known", words(0x54000040, ret, strange), []Kind{CondJump, Return}, addr + 8},
		{"a jump table", words(table, jump, 0xbea71700, ret), []Kind{Plain, JumpMemory, Trap, Return}, 0},
		{"another register", words(table, 0xd61f0060, ret), []Kind{Plain, JumpRegister, Return}, 0},
		{"not known", words(0xf81d0ffe, strange, ret), []Kind{PushFrame}, addr + 4},
		{"cut off", words(ret)[:3], nil, addr},
	} {
		body := decodeARM64(test.code, addr)
		var kinds []Kind
		for _, in := range body.Instructions {
			kinds = append(kinds, in.Kind)
		}
		if !slices.Equal(kinds, test.kinds) || body.Undecoded != test.undecoded {
			t.Errorf("%s: %v, undecoded %#x, want %v, %#x", test.name, kinds, body.Undecoded, test.kinds, test.undecoded)
		}
	}
}

func FuzzDecodeARM64(f *testing.F) {
	f.Add(words(0xf9400b90, 0xeb3063ff, 0x54000209, 0xf81d0ffe, 0xd65f03c0))
	f.Add(words(0x58000040, 0xd65f03c0, 1, 2))
	f.Add(words(0x54000049, 0xd65f03c0, 0x17fffffe, 0x14000000, 0))
	f.Fuzz(func(t *testing.T, code []byte) {
		const addr = 0x93000
		body := decodeARM64(code, addr)
		next, starts := uint64(addr), map[uint64]Kind{}
		for _, in := range body.Instructions {
			if in.Addr != next || len(in.Bytes) != 4 || in.Emulated && in.Refused != "" {
				t.Fatalf("%+v, want an instruction at %#x", in, next)
			}
			starts[next] = in.Kind
			next += 4
		}
		for _, in := range body.Instructions {
			if kind, ok := starts[in.Target]; ok && kind == Data && in.Kind != Call {
				t.Fatalf("%#x leads to a constant", in.Addr)
			}
		}
		if body.Undecoded != 0 && body.Undecoded != next {
			t.Fatalf("undecoded at %#x, behind %#x", body.Undecoded, next)
		}
		if body.Undecoded == 0 && len(bytes.Trim(code[next-addr:], "\x00")) != 0 {
			t.Fatalf("%#x is left out", next)
		}
	})
}
