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

// parse splits what a command wrote to a terminal into lines of pieces.
func parse(output string) []line {
	var lines []line
	var now style
	for text := range strings.Lines(strings.ReplaceAll(output, "\r\n", "\n")) {
		text = strings.TrimSuffix(text, "\n")
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
