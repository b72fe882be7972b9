package span

import (
	"fmt"
	"strconv"
	"strings"
)

// A composer puts the message of an error together from its fields. Where one of
// them was cut, the message has … in its place, and the composer takes note of it;
// where one is missing, there is no message.
type composer struct {
	fields  Struct
	text    strings.Builder
	cut     []string // `.Path: 128 of 200 bytes`
	unknown bool
}

// message is what was put together.
func (c *composer) message() (text string, cut []string, note string) {
	if c.unknown {
		return "", nil, ""
	}
	return c.text.String(), c.cut, ""
}

// fill puts fields into a template.
func (c *composer) fill(template string) {
	for template != "" {
		plain, rest, _ := strings.Cut(template, "{")
		name, behind, _ := strings.Cut(rest, "}")
		c.text.WriteString(plain)
		quoted := strings.HasPrefix(name, `"`)
		if name = strings.Trim(name, `"`); name != "" {
			c.field(name, quoted)
		}
		template = behind
	}
}

// field adds a field that is a text or an error.
func (c *composer) field(name string, quoted bool) {
	c.part("."+name, c.fields.find(name), quoted)
}

func (c *composer) part(name string, v Value, quoted bool) {
	switch value := v.Value.(type) {
	case string:
		if quoted {
			value = strconv.Quote(value)
		}
		c.text.WriteString(value)
	case *Error:
		if value == nil || value.Message == "" || value.Value.Value != nil {
			c.unknown = true
			return
		}
		c.text.WriteString(value.Message)
		for _, cut := range value.Cut {
			c.cut = append(c.cut, name+cut)
		}
	default:
		c.unknown = true
		return
	}
	if v.Note != "" {
		c.text.WriteString("…")
		c.cut = append(c.cut, name+": "+v.Note)
	}
}

// join adds the messages of a list of errors, a line each, up to the first of which
// nothing was read.
func (c *composer) join(name string) {
	v := c.fields.find(name)
	list, ok := v.Value.(List)
	if !ok {
		c.unknown = true
	}
	for i, element := range list {
		if i > 0 {
			if unread(element) {
				v.Note = fmt.Sprintf("%d of %d", i, max(len(list), all(v.Note)))
				break
			}
			c.text.WriteByte('\n')
		}
		c.part("."+name+element.Name, element, false)
	}
	if v.Note != "" {
		c.text.WriteString("\n…")
		c.cut = append(c.cut, "."+name+": "+v.Note)
	}
}

// unread says of an error that nothing is known of it but that there is one.
func unread(v Value) bool {
	err, ok := v.Value.(*Error)
	return v.Value == nil || ok && err != nil && err.Message == "" && err.Value.Value == nil && err.Value.Note == noRoom
}

// all is the second number of a note such as `16 of 20`.
func all(note string) (n int) {
	_, _ = fmt.Sscanf(note, "%d of %d", new(int), &n)
	return n
}

// empty says of a text that there is none.
func (c *composer) empty(name string) bool {
	v := c.fields.find(name)
	return v.Value == "" && v.Note == ""
}

// operation adds the message of a net.OpError (src/net/net.go).
func (c *composer) operation() {
	c.field("Op", false)
	if !c.empty("Net") {
		c.text.WriteByte(' ')
		c.field("Net", false)
	}
	between := " "
	for _, name := range []string{"Source", "Addr"} {
		v := c.fields.find(name)
		if v.Value == nil && v.Note == isNil {
			continue
		}
		c.text.WriteString(between)
		c.address("."+name, v)
		between = "->"
	}
	c.text.WriteString(": ")
	c.field("Err", false)
}

// address adds a net.Addr, as its method String has it, or a question mark.
func (c *composer) address(name string, v Value) {
	dynamic, ok := v.Value.(Dynamic)
	if !ok {
		c.unknown = true
		return
	}
	fields, _ := dynamic.Value.Value.(Struct)
	inner := composer{fields: fields}
	switch dynamic.Type {
	case "*net.TCPAddr", "*net.UDPAddr":
		inner.endpoint()
	case "*net.UnixAddr":
		inner.field("Name", false)
	case "*net.IPAddr":
		inner.host()
	default:
		inner.unknown = true
	}
	text, cut, _ := inner.message()
	if inner.unknown {
		text, cut = "?", []string{": an address of type " + dynamic.Type}
		if dynamic.Note != "" {
			cut[0] += ", " + dynamic.Note
		}
	}
	c.text.WriteString(text)
	for _, cut := range cut {
		c.cut = append(c.cut, name+cut)
	}
}

// host adds an IP address with its zone; a nil one has no text.
func (c *composer) host() {
	if v := c.fields.find("IP"); v.Value != nil || v.Note != isNil {
		c.part(".IP", v, false)
	}
	if !c.empty("Zone") {
		c.text.WriteByte('%')
		c.field("Zone", false)
	}
}

// endpoint adds a host and a port.
func (c *composer) endpoint() {
	host := composer{fields: c.fields}
	host.host()
	text, cut, _ := host.message()
	if strings.Contains(text, ":") {
		text = "[" + text + "]"
	}
	port, ok := c.fields.find("Port").Value.(int64)
	c.unknown = c.unknown || host.unknown || !ok
	c.text.WriteString(text + ":" + strconv.FormatInt(port, 10))
	c.cut = append(c.cut, cut...)
}

// lookup adds the message of a net.DNSError (src/net/net.go).
func (c *composer) lookup() {
	c.text.WriteString("lookup ")
	c.field("Name", false)
	if !c.empty("Server") {
		c.text.WriteString(" on ")
		c.field("Server", false)
	}
	c.text.WriteString(": ")
	c.field("Err", false)
}
