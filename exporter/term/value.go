package term

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/uspan/uspan/instrument/span"
)

// Nothing that the target chose reaches the terminal but through this file: a
// control character in a string, a name or a message could move the cursor,
// set the title or answer for the user. Width is what one value may take,
// 0 any.

// valueText is a value in Go syntax, with what stands for a missing one.
func valueText(v span.Value, width int) string {
	switch value := v.Value.(type) {
	case nil:
		switch v.Note {
		case "redacted":
			return "<redacted>"
		case "nil":
			return "nil"
		}
		if strings.Contains(v.Note, "capture depth") {
			return "…"
		}
		return "?"
	case string:
		s := shorten(strconv.Quote(value), width)
		if v.Note != "" && !strings.HasSuffix(s, "…") {
			s += "…"
		}
		return s
	case span.Pointer:
		if value == 0 {
			return "nil"
		}
		return value.String()
	case *span.Error:
		if value == nil {
			return "nil"
		}
		return errorText(value, v.Note, width)
	case int64, uint64, float64, bool:
		return fmt.Sprint(value)
	case span.Struct:
		return parts("{", value, "}", v.Note, width)
	case span.List:
		return parts("[", unnamed(value), "]", v.Note, width)
	case span.Map:
		return parts("map[", keyed(value), "]", v.Note, width)
	case span.Dynamic:
		if inner := valueText(value.Value, width); value.Value.Value != nil {
			return shorten(clean(value.Type)+"("+inner+")", width)
		}
		return shorten(clean(value.Type), width)
	case []string:
		return array(value, v.Note, width)
	case []int64:
		return array(value, v.Note, width)
	case []float64:
		return array(value, v.Note, width)
	case []bool:
		return array(value, v.Note, width)
	default:
		return shorten(clean(fmt.Sprint(value)), width)
	}
}

// parts are values between brackets. A note says that there are more.
func parts(open string, values []span.Value, shut, note string, width int) string {
	texts := make([]string, 0, len(values)+1)
	for _, v := range values {
		text := valueText(v, width)
		if v.Name != "" {
			text = clean(v.Name) + ": " + text
		}
		texts = append(texts, text)
	}
	if note != "" {
		texts = append(texts, "…")
	}
	return shorten(open+strings.Join(texts, ", ")+shut, width)
}

// unnamed are values without their names: elements, whose order tells.
func unnamed(values []span.Value) []span.Value {
	list := make([]span.Value, len(values))
	for i, v := range values {
		v.Name = ""
		list[i] = v
	}
	return list
}

// keyed are entries named as composite literals have them: `"key"`, not `["key"]`.
func keyed(values []span.Value) []span.Value {
	entries := make([]span.Value, len(values))
	for i, v := range values {
		v.Name = strings.TrimSuffix(strings.TrimPrefix(v.Name, "["), "]")
		entries[i] = v
	}
	return entries
}

func array[T any](elements []T, note string, width int) string {
	values := make([]span.Value, len(elements))
	for i, element := range elements {
		values[i].Value = element
	}
	return parts("[", values, "]", note, width)
}

// errorText is an error as a conversion in Go would make it: its type, and its
// message where it is known. Where columns are scarce the message is worth more.
// A note says that there is more of the message.
func errorText(e *span.Error, note string, width int) string {
	name := clean(e.Type)
	if name == "" {
		name = "error"
	}
	switch {
	case e.Value.Value != nil && e.Message != "" && width > 0:
		return valueText(e.Value, width)
	case e.Value.Value != nil:
		return shorten(name+valueText(e.Value, width), width)
	case e.Message == "":
		return name
	}
	message := shorten(strconv.Quote(e.Message), width)
	if note != "" && !strings.HasSuffix(message, "…") {
		message += "…"
	}
	if width > 0 {
		return message
	}
	return name + "(" + message + ")"
}

// clean is s with everything escaped that does not print.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// shorten cuts s to that many columns.
func shorten(s string, width int) string {
	if width == 0 || len(s) <= width {
		return s
	}
	return columns.Truncate(s, width, "…")
}

// columns knows how many columns a character takes, the same everywhere: what
// a terminal makes of ambiguous ones is not known.
var columns = &runewidth.Condition{StrictEmojiNeutral: true}
