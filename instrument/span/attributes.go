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
	if s.Stack != nil {
		add("code.stacktrace", s.Stack.Text)
	}
	add("uspan.goroutine.id", int64(s.Goroutine))
	add("uspan.thread.id", int64(s.Thread))
	for _, value := range s.Args {
		value.attributes("uspan.arg."+value.Name, add)
	}
	for _, value := range s.Results {
		value.attributes("uspan.ret."+value.Name, add)
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
	if s.Exit != nil {
		if s.Exit.Signal != "" {
			add("uspan.exit.signal", s.Exit.Signal)
		} else {
			add("process.exit.code", int64(s.Exit.Status))
		}
	}
	return attributes
}

// attributes adds the value under a key: one attribute, or one for each part of
// it, whose keys go on from there. A nil error as the last result is told by the
// status, a value that was not captured by uspan.unavailable. A struct without fields
// is told where it is not a field itself; a list or a map without elements always, but
// where elements are missing.
func (v Value) attributes(key string, add func(key string, value any)) {
	parts := func(values []Value) {
		for _, part := range values {
			part.attributes(key+part.Name, add)
		}
	}
	switch value := v.Value.(type) {
	case nil:
	case uint64:
		add(key, strconv.FormatUint(value, 10))
	case Pointer:
		add(key, value.String())
	case Struct:
		if len(value) == 0 {
			add(key, "{}")
		}
		for _, field := range value {
			if inner, ok := field.Value.(Struct); !ok || len(inner) > 0 {
				field.attributes(key+"."+field.Name, add)
			}
		}
	case List:
		if len(value) == 0 && v.Note == "" {
			add(key, []string{})
		}
		parts(value)
	case Map:
		if len(value) == 0 && v.Note == "" {
			add(key, "{}")
		}
		parts(value)
	case Dynamic:
		add(key+".type", value.Type)
		value.attributes(value.key(key), add)
	case *Error:
		switch {
		case value == nil:
		case value.Message == "" || value.Value.Value != nil:
			Value{Value: value.dynamic()}.attributes(key, add)
		default:
			add(key, value.Message)
		}
	default:
		add(key, value)
	}
}

// key is that of what an interface holds: its parts, or the one value, beside the
// dynamic type. (`type` is no name that a field could have.)
func (d Dynamic) key(key string) string {
	switch held := d.Value.Value.(type) {
	case Struct:
		if len(held) > 0 {
			return key
		}
	case List, Map:
		return key
	}
	return key + ".value"
}

// dynamic is an error as what any interface holds.
func (e *Error) dynamic() Dynamic { return Dynamic{Type: e.Type, Value: e.Value} }

// String is the address as Go prints a pointer: 0xc000012345.
func (p Pointer) String() string { return "0x" + strconv.FormatUint(uint64(p), 16) }

// String is the message where it is known, else the type.
func (e *Error) String() string {
	if e.Message != "" {
		return e.Message
	}
	return e.Type
}
