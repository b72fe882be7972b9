package span

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

const testPID = 4242

// self is this test's own executable, which what the tests say was captured
// really belongs to.
func self(t *testing.T) *gobin.File {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := gobin.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// newTestAssembler knows one process and one function with the given captures,
// whose values lie one behind the other in the root chunks.
func newTestAssembler(t *testing.T, args, results []plan.Capture) *Assembler {
	t.Helper()
	part := func(captures []plan.Capture) plan.Part {
		p := plan.Part{Captures: captures}
		for i := range captures {
			captures[i].Offset = p.Size
			p.Size += (captures[i].Node.Size + 7) &^ 7
		}
		return p
	}
	p := &plan.Plan{
		File: self(t),
		Functions: []plan.Function{{
			Function: gobin.Function{Name: "example.com/shop/cart.(*Cart[example.com/x.T]).Add"},
			File:     "cart.go",
			Line:     7,
			Args:     part(args),
			Results:  part(results),
			Values:   true,
		}},
	}
	for _, err := range []any{errors.New(""), fmt.Errorf("%w", io.EOF)} {
		p.Dynamics = append(p.Dynamics, plan.Dynamic{Type: typeOf(err), Of: 255, Direct: true, Node: &plan.Node{
			Kind: plan.Pointer, Size: 8, Elem: &plan.Node{Kind: plan.Struct, Size: 16, Fields: []plan.Field{{Name: map[bool]string{
				true: "s", false: "msg"}[reflect.TypeOf(err) == reflect.TypeOf(errors.New(""))], Node: text8}}},
		}})
	}
	a := NewAssembler([]*plan.Plan{p})
	a.SetProcess(testPID, &Process{Resource: &Resource{PID: testPID}})
	return a
}

// typeOf is the address of a value's type (runtime.eface).
func typeOf(v any) uint64 { return uint64(*(*uintptr)(unsafe.Pointer(&v))) }

// Nodes for tests: strings have 8 bytes at most, slices 3 elements.
var (
	int64s  = &plan.Node{Kind: plan.Int, Size: 8}
	uint64s = &plan.Node{Kind: plan.Uint, Size: 8}
	text8   = &plan.Node{Kind: plan.String, Size: 16, Limit: 8}
	bytes8  = &plan.Node{Kind: plan.Bytes, Size: 24, Limit: 8}
	failure = &plan.Node{Kind: plan.Error, Size: 16, Of: 255}
)

func number8(kind plan.Kind, size uint32) *plan.Node { return &plan.Node{Kind: kind, Size: size} }

// chunk is a piece of memory as the kernel programs send it.
func chunk(status uint8, memory []byte) []byte {
	c := bpf.Chunk{Size: uint16(len(memory)), Good: uint16(len(memory)), Status: status}
	raw := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c))...)
	raw = append(raw, memory...)
	return append(raw, make([]byte, (8-len(memory)%8)%8)...)
}

// words is memory with these words in it.
func words(list ...uint64) []byte {
	var memory []byte
	for _, w := range list {
		memory = binary.NativeEndian.AppendUint64(memory, w)
	}
	return memory
}

// record is a call with values that starts at 1 µs and ends at 3.
func record(args []byte, results []byte) *bpf.Record {
	return &bpf.Record{
		Event: bpf.Event{
			Tgid: testPID, Tid: 4243, Goid: 17, Level: 2, Start: 1000, End: 3000,
			Trace: [2]uint64{1, 2}, Span: 3, Parent: 4,
			Kind: bpf.EventCall, Reason: bpf.EndReturn,
			Args: uint16(len(args)), Results: uint16(len(results)),
		},
		Values: append(append([]byte(nil), args...), results...),
	}
}

func TestValues(t *testing.T) {
	constant := "a constant of the executable"
	address := uint64(uintptr(unsafe.Pointer(unsafe.StringData(constant))))
	inMemory := uint64(uintptr(unsafe.Pointer(unsafe.StringData(strings.Clone("heap")))))
	const heap = 0xc000012345
	str := func(addr, length uint64, status uint8, content string) []byte {
		return append(chunk(0, words(addr, length)), chunk(status, []byte(content))...)
	}
	slice := func(length uint64, status uint8, content []byte) []byte {
		return append(chunk(0, words(heap, length, length)), chunk(status, content)...)
	}
	pair := &plan.Node{Kind: plan.Struct, Size: 16, Fields: []plan.Field{
		{Name: "a", Node: int64s}, {Name: "b", Offset: 8, Node: &plan.Node{Kind: plan.Redacted, Size: 8}},
	}}
	tests := []struct {
		name   string
		node   *plan.Node
		chunks []byte
		want   Value
	}{
		{"int8", number8(plan.Int, 1), chunk(0, words(0xabcd80)), Value{Value: int64(-128)}},
		{"int32", number8(plan.Int, 4), chunk(0, words(0xffffffff_fffffffe)), Value{Value: int64(-2)}},
		{"int64", int64s, chunk(0, words(1<<63)), Value{Value: int64(math.MinInt64)}},
		{"uint8", number8(plan.Uint, 1), chunk(0, words(0xabcdff)), Value{Value: int64(255)}},
		{"uint64", uint64s, chunk(0, words(math.MaxUint64)), Value{Value: uint64(math.MaxUint64)}},
		{"the largest int64", uint64s, chunk(0, words(math.MaxInt64)), Value{Value: int64(math.MaxInt64)}},
		{"true", number8(plan.Bool, 1), chunk(0, words(0xff01)), Value{Value: true}},
		{"false", number8(plan.Bool, 1), chunk(0, words(0xff00)), Value{Value: false}},
		{"float64", number8(plan.Float, 8), chunk(0, words(math.Float64bits(-2.5))), Value{Value: -2.5}},
		{"float32", number8(plan.Float, 4), chunk(0, words(uint64(math.Float32bits(0.5)))), Value{Value: 0.5}},
		{"complex", number8(plan.Complex, 16), chunk(0, words(math.Float64bits(1), math.Float64bits(-2))), Value{Value: "(1-2i)"}},
		{"duration", number8(plan.Duration, 8), chunk(0, words(1500000000)), Value{Value: "1.5s"}},
		{"time with a monotonic clock", number8(plan.Time, 24), chunk(0, words(1<<63|4398046511<<30|5, 1, 2)), Value{Value: "2024-05-15T07:35:11.000000005Z"}},
		{"zero time", number8(plan.Time, 24), chunk(0, words(0, 0, 0)), Value{Value: "0001-01-01T00:00:00Z"}},
		{"address", number8(plan.Address, 8), chunk(0, words(heap)), Value{Value: Pointer(heap)}},
		{"nil", number8(plan.Address, 8), chunk(0, words(0)), Value{Note: "nil"}},
		{"empty string", text8, chunk(0, words(0, 0)), Value{Value: ""}},
		{"whole string", text8, str(heap, 3, 0, "abc"), Value{Value: "abc"}},
		{"long string", text8, str(heap, 100, 0, "12345678"), Value{Value: "12345678", Note: "8 of 100 bytes"}},
		{"cut in a rune", text8, str(heap, 9, 0, "12345€"[:7]), Value{Value: "12345", Note: "5 of 9 bytes"}},
		{"cut behind a rune", text8, str(heap, 9, 0, "12345€"), Value{Value: "12345€", Note: "8 of 9 bytes"}},
		{"cut in four bytes", text8, str(heap, 9, 0, "1234😀"[:7]), Value{Value: "1234", Note: "4 of 9 bytes"}},
		{"not UTF-8", text8, str(heap, 3, 0, "a\xffb"), Value{Value: "a\uFFFDb"}},
		{"not UTF-8 where it is cut", text8, str(heap, 9, 0, "\x80\x80\x80\x80"), Value{Value: "\uFFFD", Note: "4 of 9 bytes"}},
		{"string in a page that was never touched", text8, str(address, uint64(len(constant)), bpf.ChunkFault, ""), Value{Value: "a consta", Note: fmt.Sprintf("8 of %d bytes", len(constant))}},
		{"short one", text8, str(address, 5, bpf.ChunkFault, ""), Value{Value: "a con"}},
		{"string in memory that cannot be read", text8, str(inMemory, 4, bpf.ChunkFault, ""), Value{Note: "its memory could not be read"}},
		{"length of no string", text8, str(heap, 1<<60, bpf.ChunkInvalid, ""), Value{Note: "its length is not that of a Go value"}},
		{"string without a chunk", text8, chunk(0, words(heap, 3)), Value{Note: "no room left in the event"}},
		{"unknown status", text8, str(heap, 3, 99, ""), Value{Note: "unknown status 99"}},
		{"root that could not be read", int64s, chunk(bpf.ChunkFault, words(0)), Value{Note: "its memory could not be read"}},
		{"root that was not read to its end", int64s, chunk(0, words()), Value{Note: "no room left in the event"}},
		{"the same, at the bound of steps", int64s, chunk(bpf.ChunkSteps, words()), Value{Note: "too many values before it"}},
		{"bytes", bytes8, slice(4, 0, []byte("text")), Value{Value: "text"}},
		{"binary", bytes8, slice(3, 0, []byte{0, 1, 254}), Value{Value: "0x0001fe"}},
		{"long bytes", bytes8, slice(1000, 0, []byte("12345678")), Value{Value: "12345678", Note: "8 of 1000 bytes"}},
		{"nil bytes", bytes8, chunk(0, words(0, 0, 0)), Value{Note: "nil"}},
		{"empty bytes", bytes8, chunk(0, words(heap, 0, 8)), Value{Value: ""}},
		{
			"slice", &plan.Node{Kind: plan.Slice, Size: 24, Limit: 3, Elem: int64s}, slice(5, 0, words(1, 2, 3)),
			Value{Value: []int64{1, 2, 3}, Note: "3 of 5"},
		},
		{
			"slice of large numbers", &plan.Node{Kind: plan.Slice, Size: 24, Limit: 3, Elem: uint64s}, slice(2, 0, words(1, 1<<63)),
			Value{Value: []string{"1", "9223372036854775808"}},
		},
		{
			"slice of strings, one cut", &plan.Node{Kind: plan.Slice, Size: 24, Limit: 3, Elem: text8},
			append(append(slice(2, 0, words(heap, 1, heap, 9)), chunk(0, []byte("a"))...), chunk(0, []byte("12345678"))...),
			Value{Value: List{{Name: "[0]", Value: "a"}, {Name: "[1]", Value: "12345678", Note: "8 of 9 bytes"}}},
		},
		{
			"slice of structs", &plan.Node{Kind: plan.Slice, Size: 24, Limit: 3, Elem: pair}, slice(1, 0, words(7, 0)),
			Value{Value: List{{Name: "[0]", Value: Struct{{Name: "a", Value: int64(7)}, {Name: "b", Note: "redacted"}}}}},
		},
		{
			"pointer too deep", &plan.Node{Kind: plan.Pointer, Size: 8, Elem: &plan.Node{Kind: plan.Struct, Size: 24, Fields: []plan.Field{
				{Name: "n", Node: int64s}, {Name: "s", Offset: 8, Node: text8},
			}}}, append(chunk(0, words(heap)), chunk(bpf.ChunkDeep, words(7, heap, 2))...),
			Value{Value: Struct{{Name: "n", Value: int64(7)}, {Name: "s", Note: "too far behind other pointers"}}},
		},
		{
			"interface of an unknown type", &plan.Node{Kind: plan.Interface, Size: 16, Empty: true},
			append(chunk(0, words(typeOf(1), heap)), chunk(bpf.ChunkType, words(typeOf(1)))...),
			Value{Value: Dynamic{Type: "int", Value: Value{Note: "a value of a type that was not expected"}}},
		},
		{
			"interface too deep", &plan.Node{Kind: plan.Pointer, Size: 8, Elem: &plan.Node{Kind: plan.Interface, Size: 16, Empty: true}},
			append(chunk(0, words(heap)), chunk(bpf.ChunkDeep, words(typeOf(1), heap))...), Value{Note: "too far behind other pointers"},
		},
		{"nil interface", &plan.Node{Kind: plan.Interface, Size: 16, Empty: true}, chunk(0, words(0, 0)), Value{Note: "nil"}},
		{"channel", number8(plan.Chan, 8), append(chunk(0, words(heap)), chunk(0, words(2, 5))...), Value{Value: Struct{{Name: "len", Value: int64(2)}, {Name: "cap", Value: int64(5)}}}},
		{
			"function", number8(plan.Func, 8), append(chunk(0, words(heap)), chunk(0, words(uint64(reflect.ValueOf(TestValues).Pointer())))...),
			Value{Value: "github.com/uspan/uspan/instrument/span.TestValues"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.want.Name = "x"
			s := newTestAssembler(t, []plan.Capture{{Name: "x", Node: test.node}}, nil).Span(record(test.chunks, nil))
			if diff := cmp.Diff([]Value{test.want}, s.Args); diff != "" {
				t.Error(diff)
			}
			var unavailable, truncated []string
			switch {
			case test.want.Note != "" && test.want.Value == nil:
				unavailable = []string{"arg.x: " + test.want.Note}
			case test.want.Note != "":
				truncated = []string{"arg.x: " + test.want.Note}
			default:
				return
			}
			if diff := cmp.Diff([][]string{unavailable, truncated}, [][]string{s.Unavailable, s.Truncated}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// ofError is an error of this process as the kernel programs capture it: its two
// words, and the chunks that they lead to.
func ofError(err error) (root []uint64, chunks []byte) {
	if err == nil {
		return []uint64{0, 0}, nil
	}
	// An interface is an itab, whose second word is the type, and data
	// (runtime.iface, internal/abi.ITab).
	table := *(*[2]unsafe.Pointer)(unsafe.Pointer(&err))
	typ := uint64(*(*uintptr)(unsafe.Add(table[0], 8)))
	root = []uint64{uint64(uintptr(table[0])), uint64(uintptr(table[1]))}
	if errors.As(err, new(*fs.PathError)) {
		return root, chunk(bpf.ChunkType, words(typ))
	}
	message := *(*string)(table[1])
	chunks = append(chunk(0, words(typ)), chunk(0, words(uint64(uintptr(unsafe.Pointer(unsafe.StringData(message)))), uint64(len(message))))...)
	return root, append(chunks, chunk(0, []byte(message[:min(len(message), 8)]))...)
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		failed *Error // nil: no failure
		note   string
	}{
		{"nil", nil, nil, ""},
		{"of package errors", errors.New("no stock"), &Error{Type: "*errors.errorString", Message: "no stock"}, ""},
		{"long", errors.New("out of stock"), &Error{Type: "*errors.errorString", Message: "out of s"}, "8 of 12 bytes"},
		{"wrapped", fmt.Errorf("%w", errors.New("x")), &Error{Type: "*fmt.wrapError", Message: "x"}, ""},
		{
			"of a type that is not expected", &fs.PathError{Op: "open", Path: "/", Err: fs.ErrExist},
			&Error{Type: "*fs.PathError", Value: Value{Note: "a value of a type that was not expected"}}, "",
		},
		{"io.EOF", io.EOF, nil, ""},
		{"a wrapped io.EOF", fmt.Errorf("read: %w", io.EOF), &Error{Type: "*fmt.wrapError", Message: "read: EO"}, "8 of 9 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newTestAssembler(t, nil, []plan.Capture{{Name: "first", Node: failure}, {Name: "err", Node: failure}})
			// Only the last result says that a call failed; it comes first.
			root, chunks := ofError(errors.New("other"))
			last, more := ofError(test.err)
			s := a.Span(record(nil, append(append(chunk(0, words(append(root, last...)...)), more...), chunks...)))
			if diff := cmp.Diff(test.failed, s.Error); diff != "" {
				t.Error(diff)
			}
			if got := s.Results[1].Note; got != test.note {
				t.Errorf("note is %q, want %q", got, test.note)
			}
		})
	}
}

// What is not in an event is said, with the reason.
func TestMissingValues(t *testing.T) {
	args := func() []plan.Capture {
		return []plan.Capture{
			{Name: "ratio", Node: &plan.Node{Kind: plan.None, Reason: "float in a register"}},
			{Name: "password", Node: &plan.Node{Kind: plan.Redacted}},
			{Name: "n", Node: int64s},
		}
	}
	one, two := chunk(0, words(1)), chunk(0, words(2))
	tests := []struct {
		name        string
		change      func(*bpf.Record)
		unavailable []string
		results     int
	}{
		{"nothing", func(*bpf.Record) {}, nil, 1},
		{"all", func(r *bpf.Record) { r.Values = nil }, []string{"arg.n: no room left in the event", "ret.0: no room left in the event"}, 1},
		{"no memory", func(r *bpf.Record) { r.Values, r.Flags = nil, bpf.EventValuesLost }, []string{"arg.n: no memory for it in the kernel", "ret.0: no memory for it in the kernel"}, 1},
		{"tail call", func(r *bpf.Record) { r.Values, r.Reason = r.Values[:len(one)], bpf.EndTail }, []string{"ret.0: the function ended by jumping into another one"}, 1},
		{"unwound", func(r *bpf.Record) { r.Values, r.Reason = r.Values[:len(one)], bpf.EndUnwound }, nil, 0},
		{"not ended", func(r *bpf.Record) { r.Values, r.Kind, r.End = r.Values[:len(one)], bpf.EventBegin, 0 }, nil, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := record(one, two)
			test.change(r)
			s := newTestAssembler(t, args(), []plan.Capture{{Name: "0", Node: int64s}}).Span(r)
			want := append([]string{"arg.ratio: float in a register"}, test.unavailable...)
			if diff := cmp.Diff(want, s.Unavailable); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"arg.password"}, s.Redacted); diff != "" {
				t.Error(diff)
			}
			if len(s.Args) != 3 || len(s.Results) != test.results {
				t.Errorf("%d arguments, %d results", len(s.Args), len(s.Results))
			}
		})
	}
}

// FuzzDecode decodes whatever bytes by nodes of all kinds: nothing is read out of
// bounds, nothing hangs.
func FuzzDecode(f *testing.F) {
	group := &plan.Group{Size: 136, Swiss: true, Keys: 8, KeyStride: 16, Elems: 16, ElemStride: 16, Key: int64s, Elem: int64s}
	bucket := &plan.Group{Size: 272, Keys: 8, KeyStride: 16, Elems: 136, ElemStride: 16, Key: text8, Elem: text8, Judged: true, Apart: true, KeyBytes: 16, ElemBytes: 16}
	swiss := &plan.MapLayout{Size: 48, Swiss: true, Dir: 16, DirLen: 24, TableSize: 32, Groups: 16, Group: group, Limit: 4, Entries: 16}
	old := &plan.MapLayout{Size: 48, Buckets: 16, Old: 24, Log2: 9, Group: bucket, Limit: 3, Entries: 16}
	structure := &plan.Node{Kind: plan.Struct, Size: 40, Fields: []plan.Field{
		{Name: "s", Node: text8}, {Name: "i", Offset: 16, Node: &plan.Node{Kind: plan.Interface, Size: 16, Empty: true}},
		{Name: "m", Offset: 32, Node: &plan.Node{Kind: plan.Map, Size: 8, Map: old}},
	}}
	captures := []plan.Capture{
		{Name: "a", Node: text8},
		{Name: "b", Node: &plan.Node{Kind: plan.Slice, Size: 24, Limit: 3, Elem: structure}},
		{Name: "c", Node: &plan.Node{Kind: plan.Map, Size: 8, Map: swiss}},
		{Name: "d", Node: &plan.Node{Kind: plan.Pointer, Size: 8, Elem: structure}},
		{Name: "e", Node: &plan.Node{Kind: plan.Array, Size: 48, Count: 2, Limit: 2, Elem: bytes8}},
		{Name: "f", Node: failure},
		{Name: "g", Node: number8(plan.Func, 8)},
		{Name: "h", Node: number8(plan.Time, 24)},
	}
	path, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	file, err := gobin.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	part := plan.Part{Captures: captures, Size: 200}
	for i := range captures {
		captures[i].Offset = uint32(i * 24)
	}
	a := NewAssembler([]*plan.Plan{{File: file, Functions: []plan.Function{{Args: part, Values: true}}}})
	a.SetProcess(testPID, &Process{Resource: &Resource{PID: testPID}})
	root := chunk(0, bytes.Repeat(words(0xc000000000, 3, 8), 9)[:200])
	f.Add(root)
	f.Add(append(append(root, chunk(0, []byte("abc"))...), chunk(0, make([]byte, 120))...))
	f.Add(append(root, chunk(bpf.ChunkFault, nil)...))
	f.Fuzz(func(t *testing.T, values []byte) {
		if len(values) > math.MaxUint16 {
			return
		}
		a.Span(record(values, nil)).Attributes()
	})
}

// A value of a type parameter is shown by the dictionary of the call where that is
// known, else by its shape; so is a result, by the dictionary among the arguments.
func TestShapes(t *testing.T) {
	shape := &plan.Node{Kind: plan.Shape, Size: 8, Elem: int64s, Of: 1024}
	a := newTestAssembler(t,
		[]plan.Capture{{Name: "dictionary", Node: int64s}, {Name: "v", Node: shape}}, []plan.Capture{{Name: "0", Node: shape}})
	a.functions[0].exe.dynamics[dynamicKey{0x1000, 1024}] = &plan.Dynamic{Node: &plan.Node{Kind: plan.Duration, Size: 8}}
	for dictionary, want := range map[uint64][]any{0x1000: {"5ns", "6ns"}, 0x2000: {int64(5), int64(6)}} {
		s := a.Span(record(chunk(0, words(dictionary, 5)), chunk(0, words(6))))
		if got := []any{s.Args[1].Value, s.Results[0].Value}; !reflect.DeepEqual(got, want) {
			t.Errorf("with the dictionary %#x: %v, not %v", dictionary, got, want)
		}
	}
}

// What expressions lead to: an element, where there is one, and a length.
func TestElements(t *testing.T) {
	element := &plan.Node{Kind: plan.Element, Size: 16, Elem: int64s, Count: 2, Skip: 16}
	length := &plan.Node{Kind: plan.Len, Size: 8}
	for _, test := range []struct {
		name  string
		args  []byte
		value any
		note  string
	}{
		{"there", append(chunk(0, words(0xc000012345, 3)), chunk(0, words(7))...), int64(7), ""},
		{"out of range", chunk(0, words(0xc000012345, 2)), nil, "index 2 of 2"},
		{"of nothing", chunk(0, words(0, 0)), nil, "index 2 of 0"},
		{"unreadable", append(chunk(0, words(0xc000012345, 3)), chunk(bpf.ChunkFault, nil)...), nil, fault},
		{"a length that is none", append(chunk(0, words(0xc000012345, 1<<60)), chunk(bpf.ChunkInvalid, nil)...), nil, invalid},
		{"lost", chunk(0, words(0xc000012345, 3)), nil, noRoom},
	} {
		s := newTestAssembler(t, []plan.Capture{{Name: "x", Node: element}}, nil).Span(record(test.args, nil))
		if s.Args[0].Value != test.value || s.Args[0].Note != test.note {
			t.Errorf("%s: %v, %q", test.name, s.Args[0].Value, s.Args[0].Note)
		}
	}
	for want, args := range map[int64][]byte{0: chunk(0, words(0)), 9: append(chunk(0, words(0xc000012345)), chunk(0, words(9))...)} {
		s := newTestAssembler(t, []plan.Capture{{Name: "n", Node: length}}, nil).Span(record(args, nil))
		if s.Args[0].Value != want {
			t.Errorf("length %v, not %d", s.Args[0].Value, want)
		}
	}
}
