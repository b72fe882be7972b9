package span

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/uspan/uspan/bpf"
)

// panicRecord is what the kernel programs tell of a panic with a value of this
// very process.
func panicRecord(number uint8, end uint64, value any) *bpf.Record {
	words := *(*[2]uint64)(unsafe.Pointer(&value))
	var content string
	if words[0] != 0 {
		raw := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&words[1]))), bpf.PanicRaw)
		content = string(raw)
		header := *(*[2]uint64)(unsafe.Pointer(&raw[0]))
		if s, ok := value.(string); ok && header[1] > 0 {
			content += s[:min(len(s), 256)]
		}
	}
	r := record(nil, nil)
	r.Kind, r.Panic, r.End = bpf.EventPanic, number, end
	head := bpf.PanicValue{Type: words[0], Data: words[1], Size: uint32(len(content))}
	r.Values = append(unsafe.Slice((*byte)(unsafe.Pointer(&head)), unsafe.Sizeof(head)), content...)
	return r
}

func died(number uint8, end uint64) *bpf.Record {
	r := record(nil, nil)
	r.Reason, r.Panic, r.End = bpf.EndPanic, number, end
	return r
}

func TestPanic(t *testing.T) {
	a := newTestAssembler(t, nil, nil)
	a.Panic(panicRecord(1, 100, "first"))
	a.Panic(panicRecord(2, 100, "second"))
	for number, want := range []string{1: "first", 2: "second"} {
		if want == "" {
			continue
		}
		s := a.Span(died(uint8(number), 100))
		if s.Incomplete != Panic || s.Error == nil || !reflect.DeepEqual(*s.Error, Error{Type: "string", Message: want}) || s.Failure() != want {
			t.Errorf("panic %d: %v, %v", number, s.Incomplete, s.Error)
		}
	}
	// Not even a panic of the same goroutine with the same number is a guess.
	s := a.Span(died(1, 101))
	if s.Error != nil || !s.Failed() || s.Failure() != "panic" || !slices.Contains(s.Unavailable, "panic: its value was not seen, or is lost") {
		t.Errorf("a panic that was not told: %v, %q", s.Error, s.Unavailable)
	}
	left := record(nil, nil)
	left.Reason = bpf.EndGoexit
	if s := a.Span(left); s.Incomplete != Goexit || s.Failed() {
		t.Errorf("Goexit: %v, failed: %t", s.Incomplete, s.Failed())
	}
	for n := range uint64(2 * maxPanics) {
		other := panicRecord(1, n, "many")
		other.Goid = n
		a.Panic(other)
	}
	if len(a.panics.known) != maxPanics || len(a.panics.order) != maxPanics {
		t.Errorf("%d panics are remembered, %d in order", len(a.panics.known), len(a.panics.order))
	}
}

type weekday uint8

func (weekday) Error() string { return "a day" }

func TestPanicValue(t *testing.T) {
	a := newTestAssembler(t, nil, nil)
	for _, test := range []struct {
		value              any
		typ, message, note string
	}{
		{nil, "nil", "nil", ""},
		{"", "string", "", ""},
		{strings.Repeat("é", 200), "string", strings.Repeat("é", 128), "256 of 400 bytes"},
		{int64(-5), "int64", "-5", ""},
		{weekday(3), "span.weekday", "span.weekday(3)", ""},
		{float32(0.25), "float32", "0.25", ""},
		{&bigValue{}, "*span.bigValue", "", ""},
	} {
		a.Panic(panicRecord(1, 7, test.value))
		got := a.panics.known[panicKey{testPID, record(nil, nil).Goid, 1}]
		if !reflect.DeepEqual(*got.value, Error{Type: test.typ, Message: test.message}) || got.note != test.note {
			t.Errorf("%v: %+v, %q", test.value, *got.value, got.note)
		}
	}
	for _, panics := range []func(){
		func() { _ = []int{1}[len(t.Name())] },
		func() { var p *Span; p.Level = 1 },
		func() { panic(errors.Join(io.EOF)) },
		func() { _ = any(panics{}).(io.Reader) },
	} {
		value := recovered(panics)
		a.Panic(panicRecord(1, 7, value))
		got := a.panics.known[panicKey{testPID, record(nil, nil).Goid, 1}]
		want := Error{Type: fmt.Sprintf("%T", value)}
		if !strings.HasPrefix(want.Type, "*errors.join") && want.Type != "runtime.errorString" {
			want.Message = fmt.Sprint(value)
		}
		if want.Type == "runtime.errorString" {
			want.Message = "runtime error: invalid memory address or nil pointer dereference"
		}
		if !reflect.DeepEqual(*got.value, want) {
			t.Errorf("%+v, want %+v", *got.value, want)
		}
	}
}

type bigValue [5]int

func recovered(panics func()) (value any) {
	defer func() { value = recover() }()
	panics()
	return nil
}
