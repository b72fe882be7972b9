package gobin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// The function table (pclntab) is laid out as runtime.pcHeader and
// runtime._func say (src/runtime/symtab.go, runtime2.go), the same from Go 1.18
// to 1.27, but for two things: Go 1.20 put the line of the declaration into
// _func, and Go 1.26 leaves the start of the text zero in the header, so that
// runtime.moduledata has to say it.
const (
	tableMagic   = 0xfffffff1 // from Go 1.20 on
	tableMagic0  = 0xfffffff0 // Go 1.18 and 1.19
	headerSize   = 8 + 8*8
	asmFlag      = 1 << 2
	topFrameFlag = 1
	spWriteFlag  = 1 << 1
	tableEntry   = 8 // entry and record, 4 bytes each
)

// A table is where the parts of the function table are.
type table struct {
	addr    uint64 // of its header
	text    uint64 // what entries are relative to
	count   uint64 // of functions
	names   span
	units   span // of uint32: files of a compilation unit, as offsets in files
	files   span
	values  span // pc-value tables
	records span // the sorted entries, then a _func each
	// recordSize is the size of a _func without its pcdata and funcdata; its
	// last four bytes are funcID, flag, a pad and the number of funcdata.
	recordSize uint64
}

// hasLine says that a _func has the line of the declaration.
func (t *table) hasLine() bool { return t.recordSize == 44 }

// A span is a range of addresses.
type span struct{ start, end uint64 }

func (s span) size() uint64              { return s.end - s.start }
func (s span) contains(addr uint64) bool { return addr >= s.start && addr < s.end }

// Functions returns the functions that have code, ascending by Entry. The slice
// is shared: it must not be modified.
func (f *File) Functions() []Function { return f.funcs }

// Lookup finds the function whose code, or the padding behind it, holds addr.
func (f *File) Lookup(addr uint64) (*Function, bool) {
	i := sort.Search(len(f.funcs), func(i int) bool { return f.funcs[i].Entry > addr })
	if i == 0 || addr >= f.funcs[i-1].End {
		return nil, false
	}
	return &f.funcs[i-1], true
}

// readFunctions finds the function table and reads all of it but the pc-value
// tables.
func (f *File) readFunctions() error {
	t, err := f.findTable()
	if err != nil {
		return err
	}
	f.table = t
	names, err := f.readAlloc(t.names.start, t.names.size())
	if err != nil {
		return err
	}
	records, err := f.readAlloc(t.records.start, t.records.size())
	if err != nil {
		return err
	}
	fips := f.fipsText()
	b := tableReader{names: string(names), records: records, text: t.text, size: t.recordSize}
	f.funcs = make([]Function, 0, t.count)
	// A name belongs to one function, or to one and its wrapper. A damaged table
	// could give each function the same megabytes.
	most := 8 * uint64(len(names))
	for i := uint64(0); i < t.count; i++ {
		fn, err := b.function(i)
		if err != nil {
			return fmt.Errorf("function %d of %d: %w", i, t.count, err)
		}
		if length := uint64(len(fn.Symbol)); length > most {
			return errors.New("its names are damaged")
		} else {
			most -= length
		}
		if fn.End == fn.Entry || strings.HasPrefix(fn.Symbol, "go:textfips") {
			continue // no code: a mark
		}
		fn.FIPS = fips.contains(fn.Entry) || fips.start == 0 && isFIPSPackage(fn.Package)
		f.funcs = append(f.funcs, fn)
	}
	if len(f.funcs) == 0 {
		return errors.New("it lists no functions")
	}
	first, last := f.funcs[0].Entry, f.funcs[len(f.funcs)-1].End
	if s, ok := f.segment(first); !ok || !s.executable || last-s.addr > s.size {
		return fmt.Errorf("its functions at %#x to %#x are not in the code of the file", first, last)
	}
	f.markWrappers(b)
	return nil
}

// A tableReader decodes records.
type tableReader struct {
	names   string
	records []byte
	text    uint64
	size    uint64 // of a record
}

func (b tableReader) function(i uint64) (Function, error) {
	at := b.records[i*tableEntry:]
	entry := binary.LittleEndian.Uint32(at)
	record := binary.LittleEndian.Uint32(at[4:])
	end := binary.LittleEndian.Uint32(at[tableEntry:])
	if end < entry {
		return Function{}, fmt.Errorf("it begins at %#x, behind the next one at %#x", entry, end)
	}
	if uint64(record)+b.size > uint64(len(b.records)) {
		return Function{}, fmt.Errorf("its record at %#x is outside the table", record)
	}
	r := b.records[record:]
	if e := binary.LittleEndian.Uint32(r); e != entry {
		return Function{}, fmt.Errorf("its record says that it begins at %#x, not at %#x", e, entry)
	}
	symbol, err := b.name(binary.LittleEndian.Uint32(r[4:]))
	if err != nil {
		return Function{}, err
	}
	c := binary.LittleEndian.Uint32(r[16:]) == 0 // no pc-sp table
	flag := r[b.size-3]
	return Function{
		Entry:    b.text + uint64(entry),
		End:      b.text + uint64(end),
		Symbol:   symbol,
		Name:     printName(symbol),
		Package:  packagePath(symbol),
		Assembly: flag&asmFlag != 0,
		SPWrite:  flag&spWriteFlag != 0 || c,
		C:        c,
		record:   record,
	}, nil
}

func (b tableReader) name(offset uint32) (string, error) {
	if uint64(offset) >= uint64(len(b.names)) {
		return "", fmt.Errorf("its name at %#x is outside the table", offset)
	}
	name, _, ok := strings.Cut(b.names[offset:], "\x00")
	if !ok {
		return "", fmt.Errorf("its name at %#x has no end", offset)
	}
	return name, nil
}

// markWrappers sets Wrapper. The number of FuncID_wrapper differs between Go
// versions, but it has always been the second behind that of runtime.systemstack,
// which every executable has (src/internal/abi/symtab.go). The one between is
// that of runtime.systemstack_switch, which Go 1.18 does not record.
func (f *File) markWrappers(b tableReader) {
	id := func(fn *Function) byte { return b.records[uint64(fn.record)+b.size-4] }
	var wrapper byte
	for i := range f.funcs {
		if f.funcs[i].Symbol == "runtime.systemstack" {
			wrapper = id(&f.funcs[i]) + 2
			break
		}
	}
	if wrapper <= 2 {
		return
	}
	f.wrapperID = wrapper
	for i := range f.funcs {
		f.funcs[i].Wrapper = id(&f.funcs[i]) == wrapper
	}
}

// findTable finds the function table: in the section that the Go linker makes
// for it, else, in what a C linker left, by its magic number.
func (f *File) findTable() (table, error) {
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if s, ok := f.section(name); ok {
			return f.readTable(span{s.Addr, s.Addr + s.FileSize})
		}
	}
	problem := errNoTable
	for _, code := range []bool{false, true} { // gold has one segment for both
		for _, s := range f.segments {
			if s.executable != code {
				continue
			}
			t, err := f.searchTable(s)
			if err == nil {
				return t, nil
			}
			if !errors.Is(err, errNoTable) {
				problem = err
			}
		}
	}
	return table{}, problem
}

// errNoTable is what searchTable returns where there is nothing to see.
var errNoTable = errors.New("there is none (no section .gopclntab, nor its magic number elsewhere)")

// searchTable looks for the table in a segment: it is 8-byte aligned.
func (f *File) searchTable(s segment) (table, error) {
	const (
		chunk         = 1 << 20
		maxCandidates = 16
	)
	magic := []byte{0xff, 0xff, 0xff, 0, 0, byte(f.Arch.quantum()), 8} // behind its first byte
	problem, candidates := errNoTable, 0
	for at := uint64(0); at+headerSize <= s.size; at += chunk {
		data, err := f.readAlloc(s.addr+at, min(chunk, s.size-at))
		if err != nil {
			return table{}, err
		}
		for i := 0; i+8 <= len(data); i += 8 {
			if first := data[i]; first != tableMagic&0xff && first != tableMagic0&0xff || !bytes.Equal(data[i+1:i+8], magic) {
				continue
			}
			t, err := f.readTable(span{s.addr + at + uint64(i), s.addr + s.size})
			if err == nil {
				return t, nil
			}
			problem = err
			if candidates++; candidates == maxCandidates {
				return table{}, problem
			}
		}
	}
	return table{}, problem
}

// readTable reads the header of the table, which lies somewhere in bounds, at
// their start.
func (f *File) readTable(bounds span) (table, error) {
	header, err := f.readRelocated(bounds.start, headerSize)
	if err != nil {
		return table{}, fmt.Errorf("read its header: %w", err)
	}
	size := uint64(44)
	switch magic := binary.LittleEndian.Uint32(header); magic {
	case tableMagic:
	case tableMagic0:
		size = 40
	default:
		return table{}, fmt.Errorf("its magic number is %#x: no table of %s is known that has it", magic, f.GoVersion)
	}
	if quantum, pointer := header[6], header[7]; uint64(quantum) != f.Arch.quantum() || pointer != 8 {
		return table{}, fmt.Errorf("its header is damaged: instructions of %d and pointers of %d bytes", quantum, pointer)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(header[8+8*i:]) }
	t := table{addr: bounds.start, count: word(0), recordSize: size}
	parts := []*span{&t.names, &t.units, &t.files, &t.values, &t.records}
	for i, part := range parts {
		from, to := word(3+i), bounds.size()
		if i+1 < len(parts) {
			to = word(4 + i)
		}
		if from < headerSize || from > to || to > bounds.size() {
			return table{}, fmt.Errorf("its header is damaged: part %d from %#x to %#x of %#x", i, from, to, bounds.size())
		}
		*part = span{bounds.start + from, bounds.start + to}
	}
	// Behind the last entry follows the end of its code.
	if t.count == 0 || t.count > t.records.size()/tableEntry || t.count*tableEntry+tableEntry > t.records.size() {
		return table{}, fmt.Errorf("its header is damaged: %d functions in %d bytes", t.count, t.records.size())
	}
	t.text = word(2)
	if t.text == 0 {
		if t.text, err = f.textStart(t.addr); err != nil {
			return table{}, fmt.Errorf("find the start of the code: %w", err)
		}
	}
	return t, nil
}
