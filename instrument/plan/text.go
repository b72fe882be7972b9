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

// Written has what of Rules stands in a file: errors about it say where.
type Written struct {
	Patterns, Roots []Text
	DebugFile       Text
}

// after is the text from an offset on.
func (t Text) after(offset int) Text {
	before := t.Value[:min(max(offset, 0), len(t.Value))]
	last := strings.LastIndexByte(before, '\n') + 1
	after := Text{Value: t.Value[len(before):], File: t.File, Line: t.Line, Column: t.Column + utf8.RuneCountInString(before[last:])}
	if t.Line > 0 {
		after.Line += strings.Count(before, "\n")
	}
	return after
}

// Place is where the text stands, `uspan.yaml:3:14`; empty where that is nowhere.
func (t Text) Place() string {
	if t.File == "" {
		return ""
	}
	return t.at(0)
}

// at is the place of the character at an offset of the text: `uspan.yaml:3:14`.
func (t Text) at(offset int) string {
	after := t.after(offset)
	if after.Line == 0 {
		return fmt.Sprintf("%s:%d", after.File, after.Column)
	}
	return fmt.Sprintf("%s:%d:%d", after.File, after.Line, after.Column)
}

// errorf is an error about what is at an offset of the text.
func (t Text) errorf(offset int, format string, args ...any) error {
	return &TextError{Text: t.after(offset), Problem: fmt.Sprintf(format, args...)}
}

// A TextError says what is wrong with a Text.
type TextError struct {
	// Text begins with what is wrong.
	Text
	Problem string
}

func (e *TextError) Error() string { return e.at(0) + ": " + e.Problem }

// placeOf is where a text stands; empty where it is none of those.
func placeOf(texts []Text, value string) string {
	for _, t := range texts {
		if t.Value == value {
			return t.Place()
		}
	}
	return ""
}
