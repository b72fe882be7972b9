package main

import (
	"regexp"
	"strconv"
	"strings"
)

// A style is what escape sequences make of text.
type style struct {
	bold, faint bool
	// color is one of the 16 that follow the user's theme, as the sequences
	// number them (30 to 37, 90 to 97), or 0.
	color int
}

// A piece is text in one style.
type piece struct {
	text string
	style
}

type line []piece

// sgr is an escape sequence that selects a graphic rendition (ECMA-48, 8.3.117).
var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// erased is behind what was taken off a line again: the progress of what takes a second.
const erased = "\r\x1b[K"

// parse splits what a command wrote to a terminal into lines of pieces.
func parse(output string) []line {
	var lines []line
	var now style
	for text := range strings.Lines(strings.ReplaceAll(output, "\r\n", "\n")) {
		text = strings.TrimSuffix(text, "\n")
		if at := strings.LastIndex(text, erased); at >= 0 {
			text = text[at+len(erased):]
		}
		var l line
		add := func(text string) {
			if text != "" {
				l = append(l, piece{text, now})
			}
		}
		from := 0
		for _, at := range sgr.FindAllStringSubmatchIndex(text, -1) {
			add(text[from:at[0]])
			now = now.apply(text[at[2]:at[3]])
			from = at[1]
		}
		add(text[from:])
		lines = append(lines, l)
	}
	return lines
}

// wrap breaks lines where a terminal that is so wide does.
func wrap(lines []line, columns int) []line {
	var wrapped []line
	for _, whole := range lines {
		var l line
		left := columns
		for _, p := range whole {
			for text := []rune(p.text); len(text) > 0; {
				if left == 0 {
					wrapped, l, left = append(wrapped, l), nil, columns
				}
				n := min(left, len(text))
				l = append(l, piece{string(text[:n]), p.style})
				text, left = text[n:], left-n
			}
		}
		wrapped = append(wrapped, l)
	}
	return wrapped
}

// apply is the style behind a sequence with these parameters.
func (s style) apply(parameters string) style {
	for parameter := range strings.SplitSeq(parameters, ";") {
		switch n, _ := strconv.Atoi(parameter); {
		case n == 0:
			s = style{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.faint = true
		case n >= 30 && n <= 37, n >= 90 && n <= 97:
			s.color = n
		}
	}
	return s
}
