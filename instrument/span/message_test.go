package span

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// field is a field that is a text, of which a note may say that more was there.
func field(name, text string, note ...string) Value {
	return Value{Name: name, Value: text, Note: append(note, "")[0]}
}

// cause is a field that is an error.
func cause(name, typeName string, v Value) Value {
	value, note := newError(typeName, v)
	return Value{Name: name, Value: value, Note: note}
}

func plainError(text string, note ...string) Value {
	return Value{Value: Struct{field("s", text, note...)}}
}

// The messages are those that the errors' own methods make.
func TestMessages(t *testing.T) {
	const plain, number = "*errors.errorString", "syscall.Errno"
	enoent := Value{Value: int64(syscall.ENOENT)}
	tcp := func(ip string, port int64, zone string) Value {
		return Value{Value: Dynamic{"*net.TCPAddr", Value{Value: Struct{field("IP", ip), {Name: "Port", Value: port}, field("Zone", zone)}}}}
	}
	called := func(v Value, name string) Value { v.Name = name; return v }
	none := Value{Name: "Source", Note: isNil}
	tests := []struct {
		err      error
		typeName string
		value    Struct
	}{
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, "*fs.PathError", Struct{field("Op", "open"), field("Path", "/x"), cause("Err", number, enoent)}},
		{&os.LinkError{Op: "link", Old: "a", New: "b", Err: io.EOF}, "*os.LinkError", Struct{field("Op", "link"), field("Old", "a"), field("New", "b"), cause("Err", plain, plainError("EOF"))}},
		{os.NewSyscallError("read", syscall.ENOENT), "*os.SyscallError", Struct{field("Syscall", "read"), cause("Err", number, enoent)}},
		{&url.Error{Op: "Get", URL: `http://"`, Err: io.EOF}, "*url.Error", Struct{field("Op", "Get"), field("URL", `http://"`), cause("Err", plain, plainError("EOF"))}},
		{&strconv.NumError{Func: "Atoi", Num: "1{x}", Err: strconv.ErrSyntax}, "*strconv.NumError", Struct{field("Func", "Atoi"), field("Num", "1{x}"), cause("Err", plain, plainError("invalid syntax"))}},
		{
			&net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv6loopback, Port: 1, Zone: "eth0"}, Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, Err: io.EOF},
			"*net.OpError", Struct{field("Op", "read"), field("Net", "tcp"), called(tcp("::1", 1, "eth0"), "Source"), called(tcp("10.0.0.1", 80, ""), "Addr"), cause("Err", plain, plainError("EOF"))},
		},
		{
			&net.OpError{Op: "dial", Addr: &net.UnixAddr{Name: "/sock"}, Err: io.EOF},
			"*net.OpError", Struct{field("Op", "dial"), field("Net", ""), none, {Name: "Addr", Value: Dynamic{"*net.UnixAddr", Value{Value: Struct{field("Name", "/sock")}}}}, cause("Err", plain, plainError("EOF"))},
		},
		{&net.DNSError{Name: "x", Server: "1.1.1.1", Err: "no such host"}, "*net.DNSError", Struct{field("Err", "no such host"), field("Name", "x"), field("Server", "1.1.1.1")}},
		{&net.DNSError{Name: "x", Err: "no such host"}, "*net.DNSError", Struct{field("Err", "no such host"), field("Name", "x"), field("Server", "")}},
		{
			fmt.Errorf("f: %w", fmt.Errorf("a")), "*errors.withMessage", // as github.com/pkg/errors has it
			Struct{cause("cause", plain, plainError("a")), field("msg", "f")},
		},
		{io.EOF, "*errors.withStack", Struct{cause("error", plain, plainError("EOF")), {Name: "stack", Note: isNil}}},
		{io.EOF, "*errors.fundamental", Struct{field("msg", "EOF"), {Name: "stack", Note: isNil}}},
		{
			errors.Join(io.EOF, errors.Join(fmt.Errorf("a"), fmt.Errorf("b"))), "*errors.joinError",
			Struct{{Name: "errs", Value: List{cause("[0]", plain, plainError("EOF")), cause("[1]", "*errors.joinError", Value{Value: Struct{
				{Name: "errs", Value: List{cause("[0]", plain, plainError("a")), cause("[1]", plain, plainError("b"))}},
			}})}}},
		},
	}
	for _, test := range tests {
		t.Run(test.typeName, func(t *testing.T) {
			text, cut, note := message(test.typeName, Value{Value: test.value})
			if text != test.err.Error() || cut != nil || note != "" {
				t.Errorf("%q, cut %q, note %q; it is %q", text, cut, note, test.err)
			}
		})
	}
}

// What is cut of a part of a message is said of that part, and seen where it is;
// without one of its parts there is no message.
func TestCutMessages(t *testing.T) {
	const short = "2 of 9 bytes"
	plain := func(name, text string, note ...string) Value {
		return cause(name, "*errors.errorString", plainError(text, note...))
	}
	path := Struct{field("Op", "open"), field("Path", "/p", short), plain("Err", "no", short)}
	joined := Value{Value: Struct{{Name: "errs", Value: List{cause("[0]", "*fs.PathError", Value{Value: path}), plain("[1]", "x")}, Note: "2 of 20"}}}
	odd := Dynamic{"main.addr", Value{Note: noSteps}}
	tests := []struct {
		name, typeName string
		value          Value
		want           *Error
		note           string
		truncated      []string
	}{
		{"plain", "*errors.errorString", plainError("no", short), &Error{Message: "no"}, short, []string{"arg.x: " + short}},
		{"a path and its cause", "*fs.PathError", Value{Value: path}, &Error{Message: "open /p…: no…", Cut: []string{".Path: " + short, ".Err: " + short}}, "", []string{"arg.x.Path: " + short, "arg.x.Err: " + short}},
		{"quoted", "*strconv.NumError", Value{Value: Struct{field("Func", "Atoi"), field("Num", "zz", short), plain("Err", "invalid syntax")}}, &Error{Message: `strconv.Atoi: parsing "zz"…: invalid syntax`, Cut: []string{".Num: " + short}}, "", []string{"arg.x.Num: " + short}},
		{
			"joined, within another", "*url.Error", Value{Value: Struct{field("Op", "Get"), field("URL", "u"), cause("Err", "*errors.joinError", joined)}},
			&Error{
				Message: "Get \"u\": open /p…: no…\nx\n…",
				Cut:     []string{".Err.errs[0].Path: " + short, ".Err.errs[0].Err: " + short, ".Err.errs: 2 of 20"},
			}, "",
			[]string{"arg.x.Err.errs[0].Path: " + short, "arg.x.Err.errs[0].Err: " + short, "arg.x.Err.errs: 2 of 20"},
		},
		{
			"an address that is not known", "*net.OpError", Value{Value: Struct{field("Op", "dial"), field("Net", ""), {Name: "Source", Note: isNil}, {Name: "Addr", Value: odd}, plain("Err", "x")}},
			&Error{Message: "dial ?: x", Cut: []string{".Addr: an address of type main.addr, " + noSteps}}, "",
			[]string{"arg.x.Addr: an address of type main.addr, " + noSteps},
		},
		{"a message and no other field", "main.T", Value{Value: Struct{field("Message", "no", short)}}, &Error{Message: "no"}, short, []string{"arg.x: " + short}},
		{
			"a message beside other fields", "main.T", Value{Value: Struct{{Name: "Code", Value: int64(5)}, field("Msg", "no", short)}},
			&Error{Message: "no", Value: Value{Value: Struct{{Name: "Code", Value: int64(5)}, field("Msg", "no", short)}}}, "", []string{"arg.x.Msg: " + short},
		},
		{"two messages", "main.T", Value{Value: Struct{field("Msg", "a"), field("message", "b")}}, nil, "", nil},
		{"a message that is a number", "main.T", Value{Value: Struct{{Name: "msg", Value: int64(1)}}}, nil, "", nil},
		{
			"a cause with a message beside other fields", "*os.SyscallError",
			Value{Value: Struct{field("Syscall", "read"), cause("Err", "main.T", Value{Value: Struct{field("msg", "a"), {Name: "n", Value: true}}})}}, nil, "", nil,
		},
		{"a path that is missing", "*fs.PathError", Value{Value: Struct{field("Op", "open"), {Name: "Path", Note: noRoom}, plain("Err", "no")}}, nil, "", nil},
		{"a cause that is missing", "*os.SyscallError", Value{Value: Struct{field("Syscall", "read"), {Name: "Err", Note: noRoom}}}, nil, "", nil},
		{"a cause without a message", "*os.SyscallError", Value{Value: Struct{field("Syscall", "read"), cause("Err", "*main.T", Value{Value: Struct{{Name: "Code", Value: int64(1)}}})}}, nil, "", nil},
		{"the last of several missing", "*errors.joinError", Value{Value: Struct{{Name: "errs", Value: List{plain("[0]", "a"), {Name: "[1]", Note: noRoom}}}}}, &Error{Message: "a\n…", Cut: []string{".errs: 1 of 2"}}, "", []string{"arg.x.errs: 1 of 2"}},
		{"the first of several missing", "*errors.joinError", Value{Value: Struct{{Name: "errs", Value: List{{Name: "[0]", Note: noRoom}, plain("[1]", "b")}}}}, nil, "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want == nil {
				want = &Error{Value: test.value}
			}
			want.Type = test.typeName
			got, note := newError(test.typeName, test.value)
			if diff := cmp.Diff(any(want), got); diff != "" || note != test.note {
				t.Errorf("note %q, want %q; %s", note, test.note, diff)
			}
			if test.want == nil {
				return
			}
			var s Span
			s.note("arg.", []Value{{Name: "x", Value: got, Note: note}})
			if diff := cmp.Diff(test.truncated, s.Truncated); diff != "" {
				t.Error(diff)
			}
		})
	}
}
