package gobin

import (
	"debug/elf"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/testprog"
)

func TestRuntime(t *testing.T) {
	matrix(t, func(t *testing.T, o testprog.Options, f *File) {
		r, err := f.Runtime()
		if err != nil {
			t.Fatal(err)
		}
		want := Runtime{Offsets: offsetsTable[f.minor], StackHiOffset: 8, Source: FromCode}
		if f.Arch == AMD64 {
			want.TLSOffset = threadOffset(t, o)
			if slices.Contains(o.Flags, "-tags=thread") && want.TLSOffset == -8 {
				t.Error("C's variables did not put g elsewhere")
			}
		}
		// Where there are symbols, they say where it is.
		if want.Goidgen = f.goidgenFromSymbols(); want.Goidgen == 0 && f.Arch == AMD64 {
			want.Goidgen = f.goidgenFromCode()
		}
		if f.HasDWARF() {
			want.Source = FromDWARF
		}
		if f.Arch == AMD64 && r.Goidgen == 0 {
			t.Error("the last number of a goroutine is nowhere")
		}
		want.Turns, want.SchedBP = r.Turns, schedBP(f.minor)
		want.FramePointers = f.Arch == AMD64 || f.minor >= 21
		if len(r.Turns) < 3 {
			t.Errorf("turns %+v", r.Turns)
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("%+v, want %+v", r, want)
		}
	})
}

// threadOffset is where the symbol table has g: that of the same program with
// one, or none of C's where there is nothing to say it.
func threadOffset(t *testing.T, o testprog.Options) int64 {
	o.Strip, o.NoHeaders = false, false
	f := open(t, testprog.Build(t, shapes(t), o))
	symbols, err := f.elf.Symbols()
	for _, s := range symbols {
		if err == nil && s.Name == "runtime.tlsg" && elf.ST_TYPE(s.Info) == elf.STT_TLS {
			size, err := f.threadStorage()
			if err != nil {
				t.Fatal(err)
			}
			return int64(s.Value) - size
		}
	}
	if flags := strings.Join(o.Flags, " "); strings.Contains(flags, "external") || strings.Contains(flags, "thread") {
		t.Fatal("no symbol runtime.tlsg")
	}
	return -8
}

func TestDecodeTLS(t *testing.T) {
	for _, test := range []struct {
		name, code string
		want       int64
		slot       uint64
		err        string
	}{
		{"direct", "644c8b3425f8ffffff", -8, 0, ""},
		{"direct, other offset", "4883ec10 644c8b3425f0ffffff", -16, 0, ""},
		{"two instructions", "49c7c6f8ffffff 644d8b36", -8, 0, ""},
		{"two instructions, displacement", "48c7c1f0ffffff 64488b4908", -8, 0, ""},
		{"global offset table", "90 4c8b3500100000 644d8b36", 0, 0x402008, ""},
		{"global offset table, displacement", "4c8b3500100000 644d8b7608", 0, 0, "no load through FS"},
		{"another register", "48c7c1f8ffffff 644d8b36", 0, 0, "no load through FS"},
		{"indexed", "64488b0408", 0, 0, "no load through FS"},
		{"none", "55 4889e5 c3", 0, 0, "no load through FS"},
		{"broken", "06", 0, 0, "no load through FS"},
		{"empty", "", 0, 0, "no load through FS"},
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(test.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, slot, err := decodeTLS(code, 0x401000)
		if test.err == "" && (err != nil || got != test.want || slot != test.slot) {
			t.Errorf("%s: %d, %#x, %v, want %d, %#x", test.name, got, slot, err, test.want, test.slot)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %d, %v, want an error with %q", test.name, got, err, test.err)
		}
	}
}

// Every minor version that is supported is in all tables, and no other.
func TestTablesOfVersions(t *testing.T) {
	var offsets, etypes []int
	for minor := range 60 {
		if _, ok := offsetsTable[minor]; ok {
			offsets = append(offsets, minor)
		}
		if _, _, ok := moduleTypes(minor); ok {
			etypes = append(etypes, minor)
		}
	}
	want := []int{18, 19, 20, 21, 22, 23, 24, 25, 26, 27}
	if !slices.Equal(offsets, want) || !slices.Equal(etypes, want) || want[0] != minMinor {
		t.Errorf("offsets of %d, etypes of %d, want %d", offsets, etypes, want)
	}
}
