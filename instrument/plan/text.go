package plan

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Text is a piece of Go, or a pattern, that somebody has written, and where:
// what is wrong with it is said by its place.
type Text struct {
	Value string
	// File is where it was written, or the flag. Line and Column are those of its
	// first character, from 1 on; Line is 0 where File has no lines. The lines of a
	// Value of several begin at the same column.
	File         string
	Line, Column int
}

// at is the place of the character at an offset of the text: `uspan.yaml:3:14`.
func (t Text) at(offset int) string {
	before := t.Value[:min(max(offset, 0), len(t.Value))]
	line, column := t.Line, t.Column
	if line > 0 {
		line += strings.Count(before, "\n")
	}
	column += utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	if line == 0 {
		return fmt.Sprintf("%s:%d", t.File, column)
	}
	return fmt.Sprintf("%s:%d:%d", t.File, line, column)
}

// errorf is an error about what is at an offset of the text.
func (t Text) errorf(offset int, format string, args ...any) error {
	return &TextError{Place: t.at(offset), Problem: fmt.Sprintf(format, args...)}
}

// A TextError says what is wrong with a Text.
type TextError struct {
	// Place is FILE:LINE:COLUMN.
	Place, Problem string
}

func (e *TextError) Error() string { return e.Place + ": " + e.Problem }
