package span

import (
	"strconv"
	"strings"
	"syscall"
)

// newError is a captured error: its type, and its message where that can be told
// from its fields, without calling the target.
func newError(typeName string, v Value) (any, string) {
	e := &Error{Type: typeName}
	var note string
	if e.Message, note = message(typeName, v); e.Message == "" {
		e.Value = v
		return e, ""
	}
	return e, note
}

// message is what the method Error of a type returns, and what is missing of it;
// empty where that is not known. The types of the standard library are told by
// their names, and must have the fields.
func message(typeName string, v Value) (text, note string) {
	fields, _ := v.Value.(Struct)
	str := fields.text
	switch typeName {
	case "*errors.errorString":
		return fields.message("s")
	case "*fmt.wrapError", "*fmt.wrapErrors":
		return fields.message("msg")
	case "*errors.joinError":
		return join(fields.find("errs"))
	case "*fs.PathError":
		return chain(fields, str("Op")+" "+str("Path"))
	case "*os.LinkError":
		return chain(fields, str("Op")+" "+str("Old")+" "+str("New"))
	case "*os.SyscallError":
		return chain(fields, str("Syscall"))
	case "*exec.Error":
		return chain(fields, "exec: "+strconv.Quote(str("Name")))
	case "*url.Error":
		return chain(fields, str("Op")+" "+strconv.Quote(str("URL")))
	case "*strconv.NumError":
		return chain(fields, "strconv."+str("Func")+": parsing "+strconv.Quote(str("Num")))
	case "*net.OpError":
		return chain(fields, operation(fields))
	case "*net.DNSError":
		return lookup(fields)
	case "syscall.Errno":
		if n, ok := v.Value.(int64); ok {
			return syscall.Errno(n).Error(), ""
		}
		return "", ""
	}
	if text, ok := constants[typeName]; ok {
		return text, ""
	}
	if text, ok := v.Value.(string); ok && !strings.HasPrefix(typeName, "*") {
		return text, v.Note // a string that is an error
	}
	for _, name := range []string{"msg", "message", "Msg", "Message"} {
		if text, note := fields.message(name); text != "" {
			return text, note
		}
	}
	return "", ""
}

// constants are the messages of types whose values all have the same.
var constants = map[string]string{
	"context.deadlineExceededError": "context deadline exceeded",
	"*poll.DeadlineExceededError":   "i/o timeout",
	"poll.errNetClosing":            "use of closed network connection",
	"*net.timeoutError":             "i/o timeout",
	"net.canceledError":             "operation was canceled",
}

// find is a field of a struct.
func (s Struct) find(name string) Value {
	for _, v := range s {
		if v.Name == name {
			return v
		}
	}
	return Value{}
}

// text is a field that is a string.
func (s Struct) text(name string) string {
	text, _ := s.find(name).Value.(string)
	return text
}

func (s Struct) message(field string) (text, note string) {
	v := s.find(field)
	text, _ = v.Value.(string)
	return text, v.Note
}

// chain is a message that ends with that of the field Err.
func chain(fields Struct, before string) (string, string) {
	inner, _ := fields.find("Err").Value.(*Error)
	if inner == nil || inner.Message == "" {
		return "", ""
	}
	return before + ": " + inner.Message, ""
}

// join is the message of errors.Join: those of all, a line each.
func join(v Value) (string, string) {
	list, _ := v.Value.(List)
	var lines []string
	for _, v := range list {
		inner, _ := v.Value.(*Error)
		if inner == nil || inner.Message == "" {
			return "", ""
		}
		lines = append(lines, inner.Message)
	}
	return strings.Join(lines, "\n"), v.Note
}

// operation is the part of a net.OpError's message in front of its cause
// (src/net/net.go).
func operation(fields Struct) string {
	text := fields.text("Op")
	if network := fields.text("Net"); network != "" {
		text += " " + network
	}
	source, addr := fields.address("Source"), fields.address("Addr")
	if source != "" {
		text += " " + source
	}
	if addr != "" {
		if source != "" {
			text += "->" + addr
		} else {
			text += " " + addr
		}
	}
	return text
}

// address is a field that is a net.Addr, as its method String has it.
func (s Struct) address(name string) string {
	dynamic, ok := s.find(name).Value.(Dynamic)
	if !ok {
		return ""
	}
	fields, _ := dynamic.Value.Value.(Struct)
	switch dynamic.Type {
	case "*net.TCPAddr", "*net.UDPAddr":
		host, _ := fields.find("IP").Value.(string)
		if zone := fields.text("Zone"); zone != "" {
			host += "%" + zone
		}
		port, _ := fields.find("Port").Value.(int64)
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return host + ":" + strconv.FormatInt(port, 10)
	case "*net.UnixAddr":
		return fields.text("Name")
	case "*net.IPAddr":
		return fields.text("IP")
	}
	return "?"
}

// lookup is the message of a net.DNSError (src/net/net.go).
func lookup(fields Struct) (string, string) {
	cause := fields.text("Err")
	if cause == "" {
		return "", ""
	}
	text := "lookup " + fields.text("Name")
	if server := fields.text("Server"); server != "" {
		text += " on " + server
	}
	return text + ": " + cause, ""
}

// harmless says that an error is not a failure: io.EOF.
func (e *Error) harmless() bool { return e.Type == "*errors.errorString" && e.Message == "EOF" }
