package span

import (
	"strings"
	"syscall"
)

// newError is a captured error: its type, and its message where that can be told
// from its fields, without calling the target. Where one field looks like the
// message and there are others, it has both: its method may make more of them.
func newError(typeName string, v Value) (any, string) {
	e := &Error{Type: typeName}
	var note string
	if e.Message, e.Cut, note = message(typeName, v); e.Message == "" {
		e.Value = v
		fields, _ := v.Value.(Struct)
		e.Message = fields.obvious()
		return e, ""
	}
	return e, note
}

// obvious is the text of the only field that is called like a message; empty where
// there is none, or several.
func (s Struct) obvious() (text string) {
	found := false
	for _, field := range s {
		switch field.Name {
		case "msg", "message", "Msg", "Message":
			if found {
				return ""
			}
			text, found = field.Value.(string)
		}
	}
	return text
}

// message is what the method Error of a type returns, empty where that is not
// known: what is cut of its parts, or what is missing of all. The types of the
// standard library are told by their names, and must have the fields.
func message(typeName string, v Value) (text string, cut []string, note string) {
	fields, _ := v.Value.(Struct)
	c := composer{fields: fields}
	switch typeName {
	case "*errors.errorString":
		text, note = fields.message("s")
		return text, nil, note
	case "*fmt.wrapError", "*fmt.wrapErrors", "*json.SyntaxError", "*errors.fundamental": // the last of github.com/pkg/errors
		text, note = fields.message("msg")
		return text, nil, note
	case "*errors.joinError":
		c.join("errs")
		return c.message()
	case "*net.OpError":
		c.operation()
		return c.message()
	case "*net.DNSError":
		c.lookup()
		return c.message()
	case "syscall.Errno":
		if n, ok := v.Value.(int64); ok {
			return syscall.Errno(n).Error(), nil, ""
		}
		return "", nil, ""
	}
	if template, ok := templates[typeName]; ok {
		c.fill(template)
		return c.message()
	}
	if text, ok := constants[typeName]; ok {
		return text, nil, ""
	}
	if text, ok := v.Value.(string); ok && !strings.HasPrefix(typeName, "*") {
		return text, nil, v.Note // a string that is an error
	}
	if len(fields) == 1 && v.Note == "" {
		return fields.obvious(), nil, fields[0].Note
	}
	return "", nil, ""
}

// templates are the messages of types that put them together from their fields,
// which are in braces: texts, quoted ones, and errors.
var templates = map[string]string{
	"*fs.PathError":     `{Op} {Path}: {Err}`,
	"*os.LinkError":     `{Op} {Old} {New}: {Err}`,
	"*os.SyscallError":  `{Syscall}: {Err}`,
	"*exec.Error":       `exec: {"Name"}: {Err}`,
	"*url.Error":        `{Op} {"URL"}: {Err}`,
	"*strconv.NumError": `strconv.{Func}: parsing {"Num"}: {Err}`,
	// Those of github.com/pkg/errors.
	"*errors.withMessage": `{msg}: {cause}`,
	"*errors.withStack":   `{error}`,
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

func (s Struct) message(field string) (text, note string) {
	v := s.find(field)
	text, _ = v.Value.(string)
	return text, v.Note
}

// harmless says that an error is not a failure: io.EOF.
func (e *Error) harmless() bool { return e.Type == "*errors.errorString" && e.Message == "EOF" }
