package span

import "strconv"

// Attributes are all attributes of the span, in a fixed order: the function,
// where it ran, what was captured, what is missing, and how it ended.
func (s *Span) Attributes() []Attribute {
	attributes := make([]Attribute, 0, 8+len(s.Args)+len(s.Results))
	add := func(key string, value any) {
		attributes = append(attributes, Attribute{key, value})
	}
	add("code.function.name", s.Function.FullName)
	if s.Function.File != "" {
		add("code.file.path", s.Function.File)
		add("code.line.number", int64(s.Function.Line))
	}
	add("uspan.goroutine.id", int64(s.Goroutine))
	add("uspan.thread.id", int64(s.Thread))
	for _, value := range s.Args {
		if v := value.attribute(); v != nil {
			add("uspan.arg."+value.Name, v)
		}
	}
	for _, value := range s.Results {
		if v := value.attribute(); v != nil {
			add("uspan.ret."+value.Name, v)
		}
	}
	if len(s.Unavailable) > 0 {
		add("uspan.unavailable", s.Unavailable)
	}
	if len(s.Truncated) > 0 {
		add("uspan.truncated", s.Truncated)
	}
	if len(s.Redacted) > 0 {
		add("uspan.redacted", s.Redacted)
	}
	if s.Error != nil {
		add("error.type", s.Error.Type)
	}
	if s.Incomplete != "" {
		add("uspan.incomplete", string(s.Incomplete))
	}
	return attributes
}

// attribute is the value as attributes have it, or nil for none: a nil error is
// told by the status, a value that was not captured by uspan.unavailable.
func (v Value) attribute() any {
	switch value := v.Value.(type) {
	case uint64:
		return strconv.FormatUint(value, 10)
	case Pointer:
		return value.String()
	case *Error:
		if value == nil {
			return nil
		}
		return value.String()
	default:
		return value
	}
}

// String is the address as Go prints a pointer: 0xc000012345.
func (p Pointer) String() string { return "0x" + strconv.FormatUint(uint64(p), 16) }

// String is the message where it is known, else the type.
func (e *Error) String() string {
	if e.Message != "" {
		return e.Message
	}
	return e.Type
}
