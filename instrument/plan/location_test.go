package plan

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/docs"
	"github.com/uspan/uspan/internal/testprog"
)

// locationsPage says what TestLocations found, and why some parameters differ.
const locationsPage = "../../docs/calling-convention.md"

// TestLocations compares where the calling convention puts parameters with where
// DWARF's location lists say they are at the entries of functions, over all
// functions of executables: with TEST_ALL=1 of one of 110 MB, too. What came of it is
// in the documentation, where -update puts it.
func TestLocations(t *testing.T) {
	source, err := os.ReadFile("testdata/shop.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"go1.21.13", "go1.27.1"} { // DWARF 4 and 5
		t.Run(version, func(t *testing.T) {
			testLocations(t, "shop "+version, testprog.Build(t, string(source), testprog.Options{GoVersion: version}))
		})
	}
	if os.Getenv("TEST_ALL") == "1" {
		t.Run("rclone", func(t *testing.T) {
			path, err := testprog.BuildRclone()
			if err != nil {
				t.Fatal(err)
			}
			testLocations(t, "rclone", path)
		})
	}
}

func testLocations(t *testing.T, name, path string) {
	l, err := openLocations(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gobin.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counts := map[string]int{}
	examples := map[string][]string{}
	twins := make(map[string]int)
	for _, fn := range f.Functions() {
		twins[fn.Symbol]++
	}
	for _, fn := range f.Functions() {
		if fn.Assembly || fn.C {
			continue
		}
		if fn.Wrapper && twins[fn.Symbol] > 1 {
			counts[wrapper]++
			continue
		}
		sig, err := f.Signature(&fn)
		if err != nil {
			counts[unsigned]++
			continue
		}
		at, _, size := amd64.assign(sig, isMethod(&fn), false)
		if area, ok := f.ArgsSize(&fn); !ok || size >= 0 && size != int64(area) {
			counts[unfilled]++
			continue
		}
		for i, p := range sig.Params {
			if p.Name == "" || at[i].unknown {
				continue
			}
			class, pieces := l.compare(fn.Entry, p, at[i])
			counts[class]++
			if len(examples[class]) < 5 || class == other || class == inFrame {
				examples[class] = append(examples[class], fmt.Sprintf("%s: %s %s: %v", fn.Symbol, p.Name, p.Type.Name, pieces))
			}
		}
	}
	for class, n := range counts {
		t.Logf("%7d %s %q", n, class, examples[class])
	}
	compareLocations(t, name, counts)
	// In the few that are elsewhere, the compiler says at the entry already where
	// the variable is once the function has assigned to it (`if y.neg { x, y = y, x }`):
	// in a register of another parameter.
	if counts[same] == 0 || counts[other]*1000 > counts[same] {
		t.Errorf("%d parameters are where they should be, %d elsewhere: %q", counts[same], counts[other], examples[other])
	}
	if counts[inFrame] > 0 {
		t.Errorf("on the stack: %q", examples[inFrame])
	}
}

// Classes of parameters, and of functions whose parameters are not compared.
const (
	same     = "parameters as the calling convention says"
	unused   = "parameters with no location at the entry, or none of a part"
	other    = "parameters elsewhere, in registers"
	inFrame  = "parameters elsewhere, on the stack"
	moved    = "parameters whose variable is in the heap"
	shared   = "parameters that are a pointer to a variable of the function around"
	unknown  = "parameters whose location the test does not understand"
	wrapper  = "functions between calling conventions, of which no values are read"
	unsigned = "functions without a signature"
	unfilled = "functions whose signature does not fill the argument area"
)

// compareLocations compares the table of a program with that of the page.
func compareLocations(t *testing.T, name string, counts map[string]int) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "| in %s | |\n|---:|---|\n", name)
	for _, class := range []string{same, unused, other, inFrame, moved, shared, unknown, wrapper, unsigned, unfilled} {
		fmt.Fprintf(&b, "| %d | %s |\n", counts[class], class)
	}
	command := "TestLocations of " + name
	if *update {
		if err := docs.Put(locationsPage, command, b.String()); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(locationsPage)
	if err != nil {
		t.Fatal(err)
	}
	if _, want, _, _ := docs.Cut(string(page), command); want != b.String() {
		t.Errorf("%s has for %s\n%swant, -update to accept:\n%s", locationsPage, name, want, b.String())
	}
}

// locations are those of the parameters in a file.
type locations struct {
	data       *dwarf.Data
	loc, lists []byte // .debug_loc, .debug_loclists
	addr       []byte
	params     map[uint64]map[string]any // by entry and name: []byte, or an offset
	units      map[uint64]unitOf
}

type unitOf struct {
	base, addrBase uint64
	five           bool
}

func openLocations(path string) (*locations, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	l := &locations{params: map[uint64]map[string]any{}, units: map[uint64]unitOf{}}
	if l.data, err = file.DWARF(); err != nil {
		return nil, err
	}
	for name, to := range map[string]*[]byte{".debug_loc": &l.loc, ".debug_loclists": &l.lists, ".debug_addr": &l.addr} {
		if s := file.Section(name); s != nil {
			if *to, err = s.Data(); err != nil {
				return nil, err
			}
		}
	}
	return l, l.read()
}

// read collects the locations of all parameters.
func (l *locations) read() error {
	r := l.data.Reader()
	var unit unitOf
	var entry uint64
	for {
		e, err := r.Next()
		if e == nil || err != nil {
			return err
		}
		switch e.Tag {
		case dwarf.TagCompileUnit:
			unit = unitOf{five: r.AddressSize() > 0 && l.lists != nil}
			unit.base, _ = e.Val(dwarf.AttrLowpc).(uint64)
			if base, ok := e.Val(dwarf.AttrAddrBase).(int64); ok {
				unit.addrBase = uint64(base)
			}
		case dwarf.TagSubprogram:
			entry, _ = e.Val(dwarf.AttrLowpc).(uint64)
			if entry == 0 {
				r.SkipChildren()
				continue
			}
			l.params[entry], l.units[entry] = map[string]any{}, unit
		case dwarf.TagInlinedSubroutine, dwarf.TagLexDwarfBlock:
			r.SkipChildren()
		case dwarf.TagFormalParameter:
			name, _ := e.Val(dwarf.AttrName).(string)
			if origin, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
				abstract := l.data.Reader()
				abstract.Seek(origin)
				if a, err := abstract.Next(); err == nil && a != nil {
					name, _ = a.Val(dwarf.AttrName).(string)
				}
			}
			if _, known := l.params[entry][name]; entry != 0 && !known {
				l.params[entry][name] = e.Val(dwarf.AttrLocation)
			}
		}
	}
}

// compare says in which class a parameter is.
func (l *locations) compare(entry uint64, p gobin.Param, at assignment) (class string, pieces []place) {
	value, ok := l.params[entry][p.Name]
	if !ok {
		if _, ok := l.params[entry]["&"+p.Name]; ok {
			return shared, nil
		}
		return unused, nil
	}
	expression, ok := value.([]byte)
	if offset, list := value.(int64); list {
		var err error
		if expression, err = l.at(entry, uint64(offset)); err != nil {
			return unknown, nil
		}
		ok = expression != nil
	}
	if !ok || len(expression) == 0 {
		return unused, nil
	}
	pieces, err := piecesOf(expression)
	switch {
	case errors.Is(err, errInHeap):
		return moved, nil
	case err != nil:
		return unknown, nil
	}
	want := expected(p.Type, at)
	if len(pieces) != len(want) {
		if len(pieces) == 1 && !at.registers && len(want) > 0 && pieces[0] == want[0] {
			return same, pieces // in one piece on the stack
		}
		return unused, nil
	}
	for i := range pieces {
		if pieces[i] == (place{}) {
			return unused, nil
		}
	}
	if slices.Equal(pieces, want) {
		return same, pieces
	}
	if pieces[0].register == 0 {
		return inFrame, pieces
	}
	return other, pieces
}

// A place is a DWARF register plus one, or an offset from the canonical frame
// address.
type place struct {
	register int
	offset   int64
}

// expected is where the parts of a parameter are by its assignment.
func expected(t *gobin.Type, at assignment) []place {
	if !at.registers {
		return []place{{offset: at.offset - wordSize}}
	}
	integers := []int{0, 3, 2, 5, 4, 8, 9, 10, 11} // AX BX CX DI SI R8 R9 R10 R11 in DWARF
	var places []place
	var walk func(t *gobin.Type)
	walk = func(t *gobin.Type) {
		switch t.Kind {
		case gobin.Array:
			for range t.Len {
				walk(t.Elem)
			}
			return
		case gobin.Struct:
			for i := range t.Fields {
				walk(t.Fields[i].Type)
			}
			return
		}
		n, floats, _ := registersOf(t)
		for range n {
			places = append(places, place{register: integers[at.integer] + 1})
			at.integer++
		}
		for range floats {
			places = append(places, place{register: 17 + at.float + 1}) // XMM0 is 17
			at.float++
		}
	}
	walk(t)
	return places
}

// at is the expression of a location list for an address; nil where there is none.
func (l *locations) at(pc, offset uint64) ([]byte, error) {
	unit := l.units[pc]
	base := unit.base
	if l.lists == nil {
		return old(l.loc, pc, offset, base)
	}
	b := &buffer{data: l.lists, at: offset}
	for b.at < uint64(len(b.data)) && !b.bad {
		var from, to uint64
		switch kind := b.byte(); kind {
		case 0: // end of list
			return nil, nil
		case 1: // base_addressx
			base = l.address(unit.addrBase, b.uleb())
			continue
		case 3: // startx_length
			from = l.address(unit.addrBase, b.uleb())
			to = from + b.uleb()
		case 4: // offset_pair
			from, to = base+b.uleb(), base+b.uleb()
		case 6: // base_address
			base = b.word()
			continue
		case 7: // start_end
			from, to = b.word(), b.word()
		case 8: // start_length
			from = b.word()
			to = from + b.uleb()
		default:
			return nil, fmt.Errorf("entry of kind %d", kind)
		}
		expression := b.bytes(b.uleb())
		if pc >= from && pc < to {
			return expression, nil
		}
	}
	return nil, errors.New("a list without an end")
}

// old reads a list of DWARF 4.
func old(data []byte, pc, offset, base uint64) ([]byte, error) {
	b := &buffer{data: data, at: offset}
	for !b.bad {
		from, to := b.word(), b.word()
		switch {
		case from == 0 && to == 0:
			return nil, nil
		case from == ^uint64(0):
			base = to
			continue
		}
		expression := b.bytes(uint64(b.byte()) | uint64(b.byte())<<8)
		if pc >= base+from && pc < base+to {
			return expression, nil
		}
	}
	return nil, errors.New("a list without an end")
}

func (l *locations) address(base, index uint64) uint64 {
	at := base + index*8
	if at+8 > uint64(len(l.addr)) {
		return 0
	}
	return binary.LittleEndian.Uint64(l.addr[at:])
}

var errInHeap = errors.New("the address of the variable is in the frame")

// piecesOf reads an expression of registers, places in the frame, and pieces. The
// error is errInHeap where the variable is not in the frame, but its address.
func piecesOf(expression []byte) ([]place, error) {
	b := &buffer{data: expression}
	var pieces []place
	var now place
	composed := false
	for b.at < uint64(len(b.data)) && !b.bad {
		switch op := b.byte(); {
		case op >= 0x50 && op < 0x70: // reg
			now = place{register: int(op-0x50) + 1}
		case op == 0x90: // regx
			now = place{register: int(b.uleb()) + 1}
		case op == 0x9c: // call_frame_cfa
			now = place{offset: 0}
			if b.at == uint64(len(b.data)) {
				return []place{now}, nil
			}
		case op == 0x91: // fbreg
			now = place{offset: b.sleb()}
		case op == 0x06: // deref
			return nil, errInHeap
		case op == 0x93: // piece
			b.uleb()
			pieces, now, composed = append(pieces, now), place{}, true
		default:
			return nil, fmt.Errorf("operation %#x", op)
		}
	}
	if !composed {
		pieces = []place{now}
	}
	if b.bad {
		return nil, errors.New("the expression is cut short")
	}
	return pieces, nil
}

type buffer struct {
	data []byte
	at   uint64
	bad  bool
}

func (b *buffer) byte() byte {
	if b.at >= uint64(len(b.data)) {
		b.bad = true
		return 0
	}
	b.at++
	return b.data[b.at-1]
}

func (b *buffer) bytes(n uint64) []byte {
	if n > uint64(len(b.data))-b.at {
		b.bad = true
		return nil
	}
	b.at += n
	return b.data[b.at-n : b.at]
}

func (b *buffer) word() uint64 {
	if bytes := b.bytes(8); bytes != nil {
		return binary.LittleEndian.Uint64(bytes)
	}
	return 0
}

func (b *buffer) uleb() (n uint64) {
	for shift := uint(0); shift < 64; shift += 7 {
		c := b.byte()
		n |= uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			break
		}
	}
	return n
}

func (b *buffer) sleb() int64 {
	n, shift := uint64(0), uint(0)
	for shift < 64 {
		c := b.byte()
		n |= uint64(c&0x7f) << shift
		shift += 7
		if c&0x80 == 0 {
			if c&0x40 != 0 && shift < 64 {
				n |= ^uint64(0) << shift
			}
			break
		}
	}
	return int64(n)
}
