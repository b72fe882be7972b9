package span

import (
	"encoding/binary"
	"fmt"
	"go/version"
	"math"
	"reflect"
	"strconv"

	"github.com/uspan/uspan/bpf"
)

// A panicValue is the value of a panic on its way to a type and a message.
type panicValue struct {
	exe   *executable
	bias  uint64
	value bpf.PanicValue
	raw   []byte // what the value points to; behind it what a string header there leads to
}

// read is the value as an error. Where the message could only be had by calling
// a method of the target there is none.
func (v *panicValue) read() (e *Error, note string) {
	if v.value.Type == 0 {
		return &Error{Type: "nil", Message: "nil"}, "" // before Go 1.21
	}
	addr := v.value.Type - v.bias
	e = &Error{Type: v.exe.typeName(addr)}
	if v.value.Fault != 0 {
		v.raw = v.readOnly(v.value.Data, uint64(bpf.PanicRaw))
	}
	if len(v.raw) >= bpf.PanicRaw {
		kind, err := v.exe.file.TypeKind(addr)
		if err == nil {
			e.Message, note = v.message(e.Type, kind)
		}
	}
	return e, note
}

// message is what Go prints for a value of a type, as far as that is known
// (src/runtime/error.go). The types are those of the runtime, those of the
// standard library that begin with their message, and basic ones.
func (v *panicValue) message(name string, kind reflect.Kind) (message, note string) {
	switch name {
	case "string", "runtime.plainError", "runtime.plainErrorString",
		"*errors.errorString", "*fmt.wrapError", "*fmt.wrapErrors": // they begin with their message
		return v.str()
	case "runtime.errorString", "runtime.errorAddressString":
		message, note = v.str()
		return "runtime error: " + message, note
	case "runtime.boundsError":
		return v.bounds(), ""
	case "*runtime.TypeAssertionError":
		return v.assertion(), ""
	case "*runtime.PanicNilError":
		message = "panic called with nil argument"
		if v.since("go1.27") {
			message = "runtime error: " + message
		}
		return message, ""
	}
	basic := v.basic(kind)
	switch {
	case kind == reflect.String:
		message, note = v.str()
		return fmt.Sprintf("%s(%q)", name, message), note
	case basic == "" || name == kind.String():
		return basic, ""
	}
	return name + "(" + basic + ")", ""
}

func (v *panicValue) word(n int) uint64 { return binary.NativeEndian.Uint64(v.raw[8*n:]) }

// str is the string whose header the value begins with.
func (v *panicValue) str() (message, note string) {
	length := v.word(1)
	bytes := v.raw[bpf.PanicRaw:]
	if len(bytes) == 0 && length > 0 {
		if bytes = v.readOnly(v.word(0), length); bytes == nil {
			return "", fault
		}
	}
	value, note := text(bytes, length)
	message, _ = value.(string)
	return message, note
}

// basic is a value of a basic type as Go prints it.
func (v *panicValue) basic(kind reflect.Kind) string {
	word := v.word(0)
	switch kind {
	case reflect.Bool:
		return strconv.FormatBool(byte(word) != 0)
	case reflect.Int8:
		return strconv.Itoa(int(int8(word)))
	case reflect.Int16:
		return strconv.Itoa(int(int16(word)))
	case reflect.Int32:
		return strconv.Itoa(int(int32(word)))
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(int64(word), 10)
	case reflect.Uint8:
		return strconv.Itoa(int(uint8(word)))
	case reflect.Uint16:
		return strconv.Itoa(int(uint16(word)))
	case reflect.Uint32:
		return strconv.FormatUint(uint64(uint32(word)), 10)
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return strconv.FormatUint(word, 10)
	case reflect.Float32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(word))), 'g', -1, 32)
	case reflect.Float64:
		return strconv.FormatFloat(math.Float64frombits(word), 'g', -1, 64)
	}
	return ""
}

// boundsMessages are the messages of runtime.boundsError by its code, for an
// index x and a length or capacity y, and for an x below zero.
var boundsMessages = []struct{ message, negative string }{
	{"index out of range [%[1]s] with length %[2]d", "index out of range [%s]"},
	{"slice bounds out of range [:%[1]s] with length %[2]d", "slice bounds out of range [:%s]"},
	{"slice bounds out of range [:%[1]s] with capacity %[2]d", "slice bounds out of range [:%s]"},
	{"slice bounds out of range [%[1]s:%[2]d]", "slice bounds out of range [%s:]"},
	{"slice bounds out of range [::%[1]s] with length %[2]d", "slice bounds out of range [::%s]"},
	{"slice bounds out of range [::%[1]s] with capacity %[2]d", "slice bounds out of range [::%s]"},
	{"slice bounds out of range [:%[1]s:%[2]d]", "slice bounds out of range [:%s:]"},
	{"slice bounds out of range [%[1]s:%[2]d:]", "slice bounds out of range [%s::]"},
	{"cannot convert slice with length %[2]d to array or pointer to array with length %[1]s", ""},
	{"cannot convert slice with length %[2]d to pointer to array with length %[1]s", ""}, // before Go 1.20
}

// since says whether the program was built with a release of Go or a later one.
func (v *panicValue) since(release string) bool {
	return version.Compare(v.exe.file.GoVersion, release) >= 0
}

// bounds is the message of a runtime.boundsError: x, y, whether x is signed, and
// the code.
func (v *panicValue) bounds() string {
	const convert = 8
	code := int(v.raw[17])
	switch {
	case code > convert:
		return ""
	case code == convert && !v.since("go1.20"):
		code++
	}
	x := strconv.FormatUint(v.word(0), 10)
	format := boundsMessages[code]
	if v.raw[16] != 0 {
		x = strconv.FormatInt(int64(v.word(0)), 10)
		if x[0] == '-' && format.negative != "" {
			return "runtime error: " + fmt.Sprintf(format.negative, x)
		}
	}
	return "runtime error: " + fmt.Sprintf(format.message, x, v.word(1))
}

// assertion is the message of a runtime.TypeAssertionError: the types of the
// interface, of what is in it, and of what was asked for, and a missing method.
func (v *panicValue) assertion() string {
	name := func(n int) string { return v.exe.typeName(v.word(n) - v.bias) }
	has := "interface"
	if v.word(0) != 0 {
		has = name(0)
	}
	switch {
	case v.word(1) == 0:
		return "interface conversion: " + has + " is nil, not " + name(2)
	case v.word(4) == 0:
		return "interface conversion: " + has + " is " + name(1) + ", not " + name(2)
	}
	method := v.readOnly(v.word(3), v.word(4))
	return "interface conversion: " + name(1) + " is not " + name(2) + ": missing method " + string(method)
}

// readOnly are bytes of a read-only segment of the executable, up to a bound.
func (v *panicValue) readOnly(addr, length uint64) []byte {
	const most = 256
	addr -= v.bias
	if !v.exe.file.ReadOnly(addr) {
		return nil
	}
	bytes := make([]byte, min(length, most))
	if err := v.exe.file.ReadAddr(bytes, addr); err != nil {
		return nil
	}
	return bytes
}
