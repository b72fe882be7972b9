package span

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// decoding is the work of turning the captured bytes of one event into values.
type decoding struct {
	span     *Span
	function *function
	process  *Process
	record   *bpf.Record
}

// The reasons for values that are missing, as uspan.unavailable has them.
const (
	noMemory = "no memory for it in the kernel"
	noRoom   = "no room left in the event"
	tailCall = "the function ended by jumping into another one"
	fault    = "its memory could not be read"
)

func (d *decoding) decode() {
	f := d.function
	if !f.plan.Values {
		return
	}
	read := make(map[*plan.Capture]Value, len(f.args)+len(f.results))
	for value, bytes := range bpf.AllValues(d.record.Values) {
		switch n := int(value.Capture); {
		case n < len(f.args):
			read[f.args[n]] = d.value(f.args[n], value, bytes)
		case n < len(f.args)+len(f.results):
			capture := f.results[n-len(f.args)]
			read[capture] = d.value(capture, value, bytes)
		}
	}
	d.span.Args = d.list("arg.", f.plan.Args, read, d.missingArg())
	if d.record.Kind == bpf.EventBegin || d.record.Reason != bpf.EndReturn && d.record.Reason != bpf.EndTail {
		return
	}
	d.span.Results = d.list("ret.", f.plan.Results, read, d.missingResult())
	if n := len(d.span.Results); n > 0 {
		if e, ok := d.span.Results[n-1].Value.(*Error); ok && e != nil && !e.harmless() {
			d.span.Error = e
		}
	}
}

func (d *decoding) missingArg() string {
	if d.record.Flags&bpf.EventValuesLost != 0 {
		return noMemory
	}
	return noRoom
}

func (d *decoding) missingResult() string {
	if d.record.Reason == bpf.EndTail {
		return tailCall
	}
	return d.missingArg()
}

// list are the values of captures in their order, with what is missing noted.
func (d *decoding) list(prefix string, captures []plan.Capture, read map[*plan.Capture]Value, missing string) []Value {
	values := make([]Value, 0, len(captures))
	for i := range captures {
		capture := &captures[i]
		value, ok := read[capture]
		switch {
		case capture.Redacted:
			value = Value{Name: capture.Name, Note: "redacted"}
			d.span.Redacted = append(d.span.Redacted, prefix+capture.Name)
		case capture.Kind == plan.CaptureNone:
			value = Value{Name: capture.Name, Note: capture.Unavailable}
		case !ok:
			value = Value{Name: capture.Name, Note: missing}
		}
		switch {
		case capture.Redacted || value.Note == "":
		case value.Value == nil:
			d.span.Unavailable = append(d.span.Unavailable, prefix+capture.Name+": "+value.Note)
		default:
			d.span.Truncated = append(d.span.Truncated, prefix+capture.Name+": "+value.Note)
		}
		values = append(values, value)
	}
	return values
}

// value is one captured value as a Go value.
func (d *decoding) value(capture *plan.Capture, value bpf.Value, bytes []byte) Value {
	v := Value{Name: capture.Name}
	if value.Status != bpf.ValueOK && (value.Status != bpf.ValueFault || capture.Kind != plan.CaptureString) {
		v.Note = statusText(value.Status)
		return v
	}
	switch capture.Kind {
	case plan.CaptureInt:
		shift := 64 - 8*uint(capture.Size)
		v.Value = int64(value.Word<<shift) >> shift
	case plan.CaptureUint:
		shift := 64 - 8*uint(capture.Size)
		word := value.Word << shift >> shift
		if v.Value = int64(word); word > math.MaxInt64 {
			v.Value = word
		}
	case plan.CaptureBool:
		v.Value = value.Word&1 != 0
	case plan.CapturePointer:
		v.Value = Pointer(value.Word)
	case plan.CaptureString:
		if value.Status == bpf.ValueFault {
			bytes = d.readOnly(value.Addr, value.Word)
			if bytes == nil {
				v.Note = fault
				return v
			}
		}
		v.Value, v.Note = text(bytes, value.Word)
	case plan.CaptureError:
		v.Value, v.Note = d.error(value, bytes)
	}
	return v
}

func statusText(status uint8) string {
	switch status {
	case bpf.ValueFault:
		return fault
	case bpf.ValueInvalid:
		return "its length is not that of a Go value"
	case bpf.ValueNoRoom:
		return noRoom
	}
	return fmt.Sprintf("unknown status %d", status)
}

// text is a captured string, cut at a rune, and what is missing of it.
func text(bytes []byte, length uint64) (string, string) {
	if uint64(len(bytes)) >= length {
		return strings.ToValidUTF8(string(bytes), "\uFFFD"), ""
	}
	// Cut off a rune that was cut in two: at most its first three bytes are there.
	for cut := 1; cut < utf8.UTFMax && cut <= len(bytes); cut++ {
		if last := bytes[len(bytes)-cut:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				bytes = bytes[:len(bytes)-cut]
			}
			break
		}
	}
	note := fmt.Sprintf("%d of %d bytes", len(bytes), length)
	return strings.ToValidUTF8(string(bytes), "\uFFFD"), note
}

// readOnly are the first bytes of a string in the executable's read-only
// segments, as many as the kernel would have read: its page may not be in memory
// before the target touches it.
func (d *decoding) readOnly(addr, length uint64) []byte {
	file := d.function.types.file
	addr -= d.process.Bias
	if !file.ReadOnly(addr) {
		return nil
	}
	bytes := make([]byte, min(length, uint64(d.function.stringBytes)))
	if err := file.ReadAddr(bytes, addr); err != nil {
		return nil
	}
	return bytes
}

// error is a captured error: its type, and its message where the type is one
// whose first field is the message.
func (d *decoding) error(value bpf.Value, bytes []byte) (*Error, string) {
	if value.Word == 0 {
		return nil, ""
	}
	e := &Error{Type: d.function.types.name(value.Word - d.process.Bias)}
	if len(bytes) < 8 || !beginsWithMessage(e.Type) {
		return e, ""
	}
	var note string
	e.Message, note = text(bytes[8:], binary.NativeEndian.Uint64(bytes))
	return e, note
}

// beginsWithMessage says whether the first field of an error type is its
// message (errors/errors.go, fmt/errors.go of the Go source).
func beginsWithMessage(typeName string) bool {
	switch typeName {
	case "*errors.errorString", "*fmt.wrapError", "*fmt.wrapErrors":
		return true
	}
	return false
}

// harmless says that an error is not a failure: io.EOF.
func (e *Error) harmless() bool { return e.Type == "*errors.errorString" && e.Message == "EOF" }
