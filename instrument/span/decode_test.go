package span

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
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

// newTestAssembler knows one process and one function with the given captures.
func newTestAssembler(t *testing.T, args, results []plan.Capture) *Assembler {
	t.Helper()
	a := NewAssembler([]*plan.Plan{{
		File:        self(t),
		StringBytes: 8,
		Functions: []plan.Function{{
			Function: gobin.Function{Name: "example.com/shop/cart.(*Cart[example.com/x.T]).Add"},
			File:     "cart.go",
			Line:     7,
			Args:     args,
			Results:  results,
			Values:   true,
		}},
	}})
	a.SetProcess(testPID, &Process{Resource: &Resource{PID: testPID}})
	return a
}

// captured is one value in the form that the kernel programs write.
func captured(v bpf.Value, content string) []byte {
	v.Size = uint32(len(content))
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))
	text := append([]byte(content), make([]byte, (8-len(content)%8)%8)...)
	return append(append([]byte(nil), raw...), text...)
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
		Values: append(args, results...),
	}
}

func TestValues(t *testing.T) {
	constant := "a constant of the executable"
	inMemory := uint64(uintptr(unsafe.Pointer(unsafe.StringData(strings.Clone("heap")))))
	tests := []struct {
		name    string
		capture plan.Capture
		value   bpf.Value
		content string
		want    Value
	}{
		{"int8", plan.Capture{Kind: plan.CaptureInt, Size: 1}, bpf.Value{Word: 0xabcd80}, "", Value{Value: int64(-128)}},
		{"int32", plan.Capture{Kind: plan.CaptureInt, Size: 4}, bpf.Value{Word: 0xffffffff_fffffffe}, "", Value{Value: int64(-2)}},
		{"int64", plan.Capture{Kind: plan.CaptureInt, Size: 8}, bpf.Value{Word: 1 << 63}, "", Value{Value: int64(math.MinInt64)}},
		{"uint8", plan.Capture{Kind: plan.CaptureUint, Size: 1}, bpf.Value{Word: 0xabcdff}, "", Value{Value: int64(255)}},
		{"uint64", plan.Capture{Kind: plan.CaptureUint, Size: 8}, bpf.Value{Word: math.MaxUint64}, "", Value{Value: uint64(math.MaxUint64)}},
		{"the largest int64", plan.Capture{Kind: plan.CaptureUint, Size: 8}, bpf.Value{Word: math.MaxInt64}, "", Value{Value: int64(math.MaxInt64)}},
		{"true", plan.Capture{Kind: plan.CaptureBool, Size: 1}, bpf.Value{Word: 0xff01}, "", Value{Value: true}},
		{"false", plan.Capture{Kind: plan.CaptureBool, Size: 1}, bpf.Value{Word: 0xff00}, "", Value{Value: false}},
		{"pointer", plan.Capture{Kind: plan.CapturePointer, Size: 8}, bpf.Value{Word: 0xc000012345}, "", Value{Value: Pointer(0xc000012345)}},
		{"empty string", plan.Capture{Kind: plan.CaptureString}, bpf.Value{}, "", Value{Value: ""}},
		{"whole string", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 3}, "abc", Value{Value: "abc"}},
		{"long string", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 100}, "12345678", Value{Value: "12345678", Note: "8 of 100 bytes"}},
		{"cut in a rune", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 9}, "12345€"[:7], Value{Value: "12345", Note: "5 of 9 bytes"}},
		{"cut behind a rune", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 9}, "12345€", Value{Value: "12345€", Note: "8 of 9 bytes"}},
		{"cut in four bytes", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 9}, "1234😀"[:7], Value{Value: "1234", Note: "4 of 9 bytes"}},
		{"not UTF-8", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 3}, "a\xffb", Value{Value: "a\uFFFDb"}},
		{"not UTF-8 where it is cut", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Word: 9}, "\x80\x80\x80\x80", Value{Value: "\uFFFD", Note: "4 of 9 bytes"}},
		{
			"string in a page that was never touched", plan.Capture{Kind: plan.CaptureString},
			bpf.Value{Status: bpf.ValueFault, Word: uint64(len(constant)), Addr: uint64(uintptr(unsafe.Pointer(unsafe.StringData(constant))))}, "",
			Value{Value: "a consta", Note: fmt.Sprintf("8 of %d bytes", len(constant))},
		},
		{
			"short one", plan.Capture{Kind: plan.CaptureString},
			bpf.Value{Status: bpf.ValueFault, Word: 5, Addr: uint64(uintptr(unsafe.Pointer(unsafe.StringData(constant))))}, "",
			Value{Value: "a con"},
		},
		{
			"string in memory that cannot be read", plan.Capture{Kind: plan.CaptureString},
			bpf.Value{Status: bpf.ValueFault, Word: 4, Addr: inMemory}, "",
			Value{Note: "its memory could not be read"},
		},
		{"length of no string", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Status: bpf.ValueInvalid, Word: 1 << 60}, "", Value{Note: "its length is not that of a Go value"}},
		{"no room", plan.Capture{Kind: plan.CaptureString}, bpf.Value{Status: bpf.ValueNoRoom}, "", Value{Note: "no room left in the event"}},
		{"unreadable int", plan.Capture{Kind: plan.CaptureInt, Size: 8}, bpf.Value{Status: bpf.ValueFault}, "", Value{Note: "its memory could not be read"}},
		{"unknown status", plan.Capture{Kind: plan.CaptureInt, Size: 8}, bpf.Value{Status: 99}, "", Value{Note: "unknown status 99"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.capture.Name, test.want.Name = "x", "x"
			s := newTestAssembler(t, []plan.Capture{test.capture}, nil).Span(record(captured(test.value, test.content), nil))
			if diff := cmp.Diff([]Value{test.want}, s.Args); diff != "" {
				t.Error(diff)
			}
			var unavailable, truncated []string
			switch {
			case test.want.Note != "" && test.want.Value == nil:
				unavailable = []string{"arg.x: " + test.want.Note}
			case test.want.Note != "":
				truncated = []string{"arg.x: " + test.want.Note}
			}
			if diff := cmp.Diff([][]string{unavailable, truncated}, [][]string{s.Unavailable, s.Truncated}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// ofError is an error of this process as the kernel programs capture it: the
// address of its type, and the string that its data begins with.
func ofError(err error) (bpf.Value, string) {
	if err == nil {
		return bpf.Value{}, ""
	}
	// An interface is an itab, whose second word is the type, and data
	// (runtime.iface, internal/abi.ITab).
	words := *(*[2]unsafe.Pointer)(unsafe.Pointer(&err))
	v := bpf.Value{
		Word: uint64(*(*uintptr)(unsafe.Add(words[0], 8))),
		Addr: uint64(uintptr(words[1])),
	}
	message := *(*string)(words[1])
	header := binary.NativeEndian.AppendUint64(nil, uint64(len(message)))
	return v, string(header) + message[:min(len(message), 8)]
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		failed *Error // nil: no failure
		note   string
	}{
		{"nil", nil, nil, ""},
		{"of package errors", errors.New("no stock"), &Error{"*errors.errorString", "no stock"}, ""},
		{"long", errors.New("out of stock"), &Error{"*errors.errorString", "out of s"}, "8 of 12 bytes"},
		{"wrapped", fmt.Errorf("%w", errors.New("x")), &Error{"*fmt.wrapError", "x"}, ""},
		{"of a type whose first field is not the message", &fs.PathError{Op: "open", Path: "/", Err: fs.ErrExist}, &Error{"*fs.PathError", ""}, ""},
		{"io.EOF", io.EOF, nil, ""},
		{"a wrapped io.EOF", fmt.Errorf("read: %w", io.EOF), &Error{"*fmt.wrapError", "read: EO"}, "8 of 9 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newTestAssembler(t, nil, []plan.Capture{
				{Name: "first", Kind: plan.CaptureError},
				{Name: "err", Kind: plan.CaptureError},
			})
			// Only the last result says that a call failed.
			other, otherText := ofError(errors.New("other"))
			value, text := ofError(test.err)
			value.Capture = 1
			s := a.Span(record(nil, append(captured(other, otherText), captured(value, text)...)))
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
	args := []plan.Capture{
		{Name: "ratio", Unavailable: "float in a register"},
		{Name: "password", Redacted: true},
		{Name: "n", Kind: plan.CaptureInt, Size: 8},
	}
	results := []plan.Capture{{Name: "0", Kind: plan.CaptureInt, Size: 8}}
	one := captured(bpf.Value{Word: 1}, "")
	two := captured(bpf.Value{Word: 2, Capture: 1}, "")
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
			r := record(append([]byte(nil), one...), two)
			test.change(r)
			s := newTestAssembler(t, args, results).Span(r)
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
