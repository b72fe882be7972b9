package gobin

import (
	"reflect"
	"testing"
)

// What goes through a pointer is seen wherever the pointer has been copied to, and
// nothing that goes through what has taken its register.
func TestUsesARM64(t *testing.T) {
	const (
		call      = 0x94000010
		spill     = 0xf9002fe0                // MOVD R0, 88(RSP)
		reload    = 0xf9402fe4                // MOVD 88(RSP), R4
		spillPair = 0xa902f3e0                // STP (R0, R28), 40(RSP)
		copied    = 0xaa0003e7                // MOVD R0, R7
		zeroed    = 0xaa1f03e0                // MOVD ZR, R0
		moved     = 0xf8408400                // MOVD.P 8(R0), R0
		tested    = 0xb4000040                // CBZ R0
		byteStore = 0x39012c00                // MOVB R0, 75(R0)
		address   = 0x91020002                // ADD $128, R0, R2
		literals  = 0x58000040                // MOVD 8(PC), R0
		pairLoad  = 0xa9520c02                // LDP 288(R0), (R2, R3)
		system    = 0xd53bd040                // MRS TPIDR_EL0, R0
		exclusive = 0xc85ffc40                // LDAXR (R2), R0
		double    = 0xfd400000 | 19<<10 | 1   // FMOVD 152(R0), F1
		add       = 0x8b020000                // ADD R2, R0
		half      = 0xb9000000 | 1<<10 | 2<<5 // MOVW R0, 4(R2)
	)
	load := func(base uint32) uint32 { return loadWord(3, base, 152) }
	goid := func(at int) accessARM64 { return accessARM64{at, true, 152, 3} }
	for _, test := range []struct {
		name string
		code []uint32
		want []accessARM64
	}{
		{"directly", []uint32{load(0), load(1)}, []accessARM64{goid(0)}},
		{"after a call", []uint32{call, load(0)}, nil},
		{"from the stack", []uint32{spill, call, reload, load(4)}, []accessARM64{goid(3)}},
		{"from a pair on the stack", []uint32{spillPair, call, 0xf94017e4, load(4)}, []accessARM64{goid(3)}},
		{"from elsewhere on the stack", []uint32{spill, 0xf94033e4, load(4)}, nil},
		{"a copy", []uint32{copied, zeroed, load(0), load(7)}, []accessARM64{goid(3)}},
		{"tested", []uint32{tested, load(0)}, []accessARM64{goid(1)}},
		{"half of it stored", []uint32{half, load(0)}, []accessARM64{goid(1)}},
		{"a store of a byte", []uint32{byteStore, load(0)}, []accessARM64{{at: 0}, goid(1)}},
		{"an address", []uint32{address, load(0)}, []accessARM64{{at: 0}, goid(1)}},
		{"a float", []uint32{double, load(0)}, []accessARM64{{at: 0}, goid(1)}},
		{"two words", []uint32{pairLoad}, []accessARM64{{0, true, 288, 2}, {0, true, 296, 3}}},
		{"moved on", []uint32{moved, load(0)}, []accessARM64{{at: 0}}},
		{"a constant", []uint32{literals, load(0)}, nil},
		{"a system register", []uint32{system, load(0)}, nil},
		{"an exclusive load", []uint32{exclusive, load(0)}, nil},
		{"a sum", []uint32{add, load(0)}, nil},
	} {
		if got := usesARM64(test.code, 0); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
	current := []uint32{checkARM64, call, loadWord(2, gARM64, 48), zeroed}
	if got := usesARM64(current, gARM64); !reflect.DeepEqual(got, []accessARM64{{2, true, 48, 2}}) {
		t.Errorf("the current g: %+v", got)
	}
}
