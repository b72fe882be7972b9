package gobin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/testprog"
)

// use asks a file for all that it can be asked. What it answers does not matter,
// as long as it answers.
func use(f *File) {
	functions := f.Functions()
	step := max(1, len(functions)/64)
	for i := 0; i < len(functions); i += step {
		fn := &functions[i]
		f.Lookup(fn.Entry)
		f.Line(fn)
		f.StackDelta(fn, fn.Entry+1)
		f.ArgsSize(fn)
		f.Body(fn)
		f.Signature(fn)
		f.Offset(fn.Entry)
		f.ReadOnly(fn.Entry)
	}
	f.Runtime()
	f.TypeName(0)
	if types := f.module.value.types; types.start != 0 {
		for at := types.start; at < types.end && at-types.start < 64*1024; at += 512 {
			f.TypeName(at)
		}
	}
	for _, list := range []func() ([]RuntimeType, error){f.RuntimeTypes, f.typesOfRuntime} {
		types, _ := list()
		for _, rt := range types {
			f.Type(rt)
		}
	}
}

// bounded fails the test where work takes more time or memory than a file of
// this size can need.
func bounded(t *testing.T, size int, work func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	work()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 256<<20+64*uint64(size) {
		t.Errorf("a file of %d bytes took %d bytes of memory", size, allocated)
	}
	if took > 20*time.Second {
		t.Errorf("a file of %d bytes took %v", size, took)
	}
}

// fuzzProgram is small, and has uncompressed DWARF, so that damage arrives there.
const fuzzProgram = "-- go.mod --\nmodule m\ngo 1.21\n-- main.go --\npackage main\n" +
	"func f(a int, s string, _ bool) (int, error) { return a + len(s), nil }\nvar g = f\nfunc main() { g(1, \"\", true) }\n"

// fuzzRegions are the parts of an executable that its readers follow.
func fuzzRegions(f *File) []span {
	regions := []span{{0, 4096}, {uint64(f.size) - 4096, uint64(f.size)}}
	add := func(addr, size uint64) {
		if offset, ok := f.Offset(addr); ok {
			regions = append(regions, span{offset, offset + size})
		}
	}
	add(f.table.addr, headerSize)
	add(f.table.records.start, 8*f.table.count)
	add(f.table.records.start+8*f.table.count, 64*f.table.count)
	add(f.table.values.start, min(f.table.values.size(), 1<<16))
	add(f.table.units.start, f.table.units.size())
	add(f.table.names.start, f.table.names.size())
	if m, err := f.findModule(f.table.addr); err == nil {
		add(m.addr, moduleSize)
		add(m.types.start, 1<<16)
	}
	for _, name := range []string{".debug_info", ".debug_abbrev", ".debug_addr", ".debug_rnglists", ".debug_ranges", ".go.buildinfo", ".go.fipsinfo", ".rela", ".rela.dyn"} {
		if s := f.elf.Section(name); s != nil {
			regions = append(regions, span{s.Offset, s.Offset + s.FileSize})
		}
	}
	for _, where := range f.relocationTables() {
		add(where.start, where.size())
	}
	for _, p := range f.elf.Progs {
		if p.Type == elf.PT_DYNAMIC {
			add(p.Vaddr, p.Filesz)
		}
	}
	for _, reading := range readerAMD64.always {
		for i := range f.funcs {
			if fn := &f.funcs[i]; fn.Symbol == reading.symbol {
				add(fn.Entry, fn.End-fn.Entry)
			}
		}
	}
	// The section headers.
	regions = append(regions, span{uint64(f.size) - 64*uint64(len(f.elf.Sections)), uint64(f.size)})
	return regions
}

// damage changes an executable as an input of the fuzzer says: six bytes a
// change, which are a region, a place in it, and what to put there.
func damage(whole []byte, regions []span, changes []byte, cut uint32) []byte {
	p := bytes.Clone(whole)
	for ; len(changes) >= 6; changes = changes[6:] {
		region := regions[int(changes[0])%len(regions)]
		if region.size() == 0 {
			continue
		}
		place := region.start + uint64(binary.LittleEndian.Uint32(changes[1:])&0xffffff)%region.size()
		if place >= uint64(len(p)) {
			continue
		}
		switch changes[4] % 4 {
		case 0:
			p[place] = changes[5]
		case 1:
			p[place] ^= 1 << (changes[5] % 8)
		case 2: // a word of ones, or of the byte
			for i := place &^ 7; i < place&^7+8 && i < uint64(len(p)); i++ {
				p[i] = changes[5]
			}
		case 3: // a word from elsewhere in the region
			from := region.start + uint64(changes[5])*8%region.size()
			if to := place &^ 7; from+8 <= uint64(len(p)) && to+8 <= uint64(len(p)) {
				copy(p[to:to+8], p[from:from+8])
			}
		}
	}
	if cut != 0 {
		p = p[:uint64(cut)%uint64(len(p))]
	}
	return p
}

func FuzzDamagedExecutable(f *testing.F) {
	type base struct {
		data    []byte
		regions []span
	}
	var bases []base
	for _, o := range []testprog.Options{
		{Flags: []string{"-ldflags=-compressdwarf=false"}},
		{Flags: []string{"-buildmode=pie", "-ldflags=-compressdwarf=false"}},
		{Flags: []string{"-buildmode=pie"}, NoHeaders: true},
	} {
		path := testprog.Build(f, fuzzProgram, o)
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, base{data, fuzzRegions(open(f, path))})
	}
	f.Add(uint8(0), uint32(0), []byte{})
	f.Add(uint8(1), uint32(0), []byte{})
	f.Add(uint8(2), uint32(0), []byte{})
	for region := range 24 {
		f.Add(uint8(region), uint32(0), []byte{byte(region), 7, 0, 0, 1, 3, byte(region), 16, 1, 0, 2, 0xff})
		f.Add(uint8(region), uint32(0), []byte{byte(region), 40, 0, 0, 2, 0xff, byte(region), 200, 0, 0, 3, 9})
		f.Add(uint8(region), uint32(region)*100_000+1, []byte{})
	}
	f.Fuzz(func(t *testing.T, which uint8, cut uint32, changes []byte) {
		b := bases[int(which)%len(bases)]
		data := damage(b.data, b.regions, changes, cut)
		bounded(t, len(data), func() {
			if file, err := NewFile(bytes.NewReader(data), "fuzz"); err == nil {
				use(file)
			}
		})
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	header := make([]byte, 64+56)
	copy(header, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(header[16:], 2)    // ET_EXEC
	binary.LittleEndian.PutUint16(header[18:], 0x3e) // x86-64
	binary.LittleEndian.PutUint32(header[20:], 1)
	binary.LittleEndian.PutUint64(header[32:], 64) // program headers
	binary.LittleEndian.PutUint16(header[54:], 56)
	binary.LittleEndian.PutUint16(header[56:], 1)
	f.Add(header)
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded(t, len(data), func() {
			if file, err := NewFile(bytes.NewReader(data), "fuzz"); err == nil {
				use(file)
			}
			sizeOf(bareReader{bytes.NewReader(data)})
		})
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x2d, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0xcc})
	f.Add([]byte{0xc5, 0xf8, 0x77, 0xc3})
	f.Add([]byte{0x62, 0xf1, 0x7c, 0x48, 0x10, 0x44, 0x24, 0x01, 0xeb, 0xcc})
	f.Add([]byte{0x64, 0x4c, 0x8b, 0x34, 0x25, 0xf8, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, code []byte) {
		const addr = 0x401000
		body := decode(code, addr)
		next := uint64(addr)
		for _, in := range body.Instructions {
			if in.Addr != next || len(in.Bytes) == 0 || len(in.Bytes) > 15 {
				t.Fatalf("%#x: %x, want an instruction at %#x", in.Addr, in.Bytes, next)
			}
			if in.Emulated && in.Refused != "" {
				t.Fatalf("%x is both emulated and refused", in.Bytes)
			}
			next += uint64(len(in.Bytes))
		}
		if body.Undecoded != 0 && body.Undecoded != next {
			t.Fatalf("undecoded at %#x, behind %#x", body.Undecoded, next)
		}
		if end := addr + uint64(len(code)); body.Undecoded == 0 {
			for ; next < end; next++ {
				if code[next-addr] != 0xcc {
					t.Fatalf("%#x is left out", next)
				}
			}
		}
		decodeTLS(code, addr)
	})
}

func FuzzOffsets(f *testing.F) {
	f.Add(uint8(2), []byte{0x48, 0x8b, 0x58, 0x30, 0x48, 0x3b, 0x43, 0x48, 0x74, 0x00}) // ends too early
	fuzzOffsets(f, "amd64", &readerAMD64)
}

func FuzzOffsetsARM64(f *testing.F) {
	f.Add(uint8(2), words(0xf9401b84, 0xf9402485, 0xeb1c00bf)) // ends too early
	fuzzOffsets(f, "arm64", &readerARM64)
}

// fuzzOffsets reads what is no code of the runtime, and may learn nothing that
// cannot be.
func fuzzOffsets[Inst any](f *testing.F, arch string, r *reader[Inst]) {
	exe := open(f, testprog.Build(f, fuzzProgram, testprog.Options{GOARCH: arch}))
	for i, reading := range r.always {
		fn := find(f, exe, reading.symbol)
		code, err := exe.readAlloc(fn.Entry, fn.End-fn.Entry)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), code)
	}
	f.Fuzz(func(t *testing.T, which uint8, code []byte) {
		const addr = 0x93000
		all, ok := r.decode(code, addr)
		if !ok {
			return
		}
		o := Offsets{Goid: 152, Gopc: 288, Startpc: 304}
		if r.always[int(which)%len(r.always)].read(&o, all) && o.plausible() && o.Goid > 4096 {
			t.Fatalf("%+v", o)
		}
		var details Offsets
		r.recovered(&details, all)
		r.processor(&details, all)
		r.panicSP(&details, all)
		r.stock(all)
		r.sigcode(all)
	})
}

func FuzzRuns(f *testing.F) {
	f.Add([]byte{2, 8, 1, 8, 0}, uint32(16))
	f.Add([]byte{0, 4, 4, 0x8c, 0x01, 0}, uint32(300))
	f.Fuzz(func(t *testing.T, p []byte, size uint32) {
		fn := &Function{Entry: 0x1000, End: 0x1000 + uint64(size)}
		runs, ok := collectRuns(p, fn, 1)
		if !ok {
			return
		}
		last := fn.Entry
		for _, run := range runs {
			if run.end <= last || run.end > fn.End {
				t.Fatalf("a run to %#x behind one to %#x, of code to %#x", run.end, last, fn.End)
			}
			last = run.end
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, symbol := range []string{"main.main", "gopkg.in/yaml%2ev3.Marshal", "main.(*L[go.shape.int]).P.func1", "a%", "][", "/.", "type:.eq.main.T"} {
		f.Add(symbol)
	}
	f.Fuzz(func(t *testing.T, symbol string) {
		if name := printName(symbol); len(name) > len(symbol)+len("[...]") {
			t.Errorf("%q prints as %q", symbol, name)
		}
		packagePath(symbol)
		takesDictionary(symbol)
	})
}
