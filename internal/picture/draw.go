package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// In pixels: a character, whose width textLength sets whatever the font, and
// the space around all of them.
const (
	charWidth  = 8
	lineHeight = 19
	margin     = 18
)

// header has the colours twice: for light pages and for dark ones. Those that
// are not there are that of plain text.
const header = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d">
<style>
svg { color: #1f2328; font: 13.3px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
rect { fill: #f6f8fa; stroke: #d1d9e0 }
text { fill: currentColor }
path { fill: none; stroke: currentColor; stroke-width: 1.5 }
.bar { fill: currentColor; stroke: none }
.bold { font-weight: bold }
.faint { color: #6a737d }
.c31 { color: #c5221f } .c32 { color: #1a7f37 } .c33 { color: #8a5a00 } .c35 { color: #8250df } .c36 { color: #0a6a85 }
@media (prefers-color-scheme: dark) {
svg { color: #e6edf3 }
rect { fill: #0d1117; stroke: #30363d }
.faint { color: #8b949e }
.c31 { color: #ff7b72 } .c32 { color: #56d364 } .c33 { color: #e3b341 } .c35 { color: #d2a8ff } .c36 { color: #76d9e6 }
}
</style>
<rect x="0.5" y="0.5" width="%[3]d" height="%[4]d" rx="8"/>
`

// draw is an SVG of lines in a terminal that is so wide.
func draw(lines []line, columns int) string {
	width, height := columns*charWidth+2*margin, len(lines)*lineHeight+2*margin
	var svg strings.Builder
	fmt.Fprintf(&svg, header, width, height, width-1, height-1)
	for row, line := range lines {
		column := 0
		for _, piece := range line {
			drawPiece(&svg, piece, margin+column*charWidth, margin+row*lineHeight)
			column += utf8.RuneCountInString(piece.text)
		}
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

// drawPiece draws the tree as lines and bars as areas, which join whatever the font,
// and all else as text. x and y are the upper left corner.
func drawPiece(svg *strings.Builder, piece piece, x, y int) {
	text := []rune(piece.text)
	var strokes, bars strings.Builder
	for i, c := range text {
		stroke, bar := stroke(c, x+i*charWidth, y), bar(c, x+i*charWidth, y)
		if stroke+bar != "" {
			strokes.WriteString(stroke)
			bars.WriteString(bar)
			text[i] = ' '
		}
	}
	if strokes.Len() > 0 {
		fmt.Fprintf(svg, "<path%s d=\"%s\"/>\n", class(piece.classes()), strokes.String())
	}
	if bars.Len() > 0 {
		fmt.Fprintf(svg, "<path%s d=\"%s\"/>\n", class(append(piece.classes(), "bar")), bars.String())
	}
	// SVG makes one space of several.
	for _, at := range words.FindAllStringIndex(string(text), -1) {
		before, word := string(text)[:at[0]], string(text)[at[0]:at[1]]
		fmt.Fprintf(svg, "<text%s x=\"%d\" y=\"%d\" textLength=\"%d\">%s</text>\n",
			class(piece.classes()), x+utf8.RuneCountInString(before)*charWidth, y+14,
			utf8.RuneCountInString(word)*charWidth, html.EscapeString(word))
	}
}

// words are with single spaces between them.
var words = regexp.MustCompile(`[^ ]+( [^ ]+)*`)

// bar is the path of a character of a bar, whose width is in eighths, or empty for
// others. A little is left free between lines.
func bar(c rune, x, y int) string {
	const free = 2
	if c < '█' || c > '▏' { // in the order of Unicode: █▉▊▋▌▍▎▏
		return ""
	}
	width := int('▏'-c+1) * charWidth / 8
	return fmt.Sprintf("M%d %dh%dv%dh-%dz", x, y+free, width, lineHeight-2*free, width)
}

// stroke is the path of a character of the tree, or empty for others.
func stroke(c rune, x, y int) string {
	const radius = charWidth / 2
	x += charWidth / 2
	middle := y + lineHeight/2 + 1
	switch c {
	case '│':
		return fmt.Sprintf("M%d %dv%d", x, y, lineHeight)
	case '╭':
		return fmt.Sprintf("M%d %dV%dq0-%d %d-%dh%d", x, y+lineHeight, middle+radius, radius, radius, radius, radius)
	case '╰':
		return fmt.Sprintf("M%d %dV%dq0 %d %d %dh%d", x, y, middle-radius, radius, radius, radius, radius)
	}
	return ""
}

// classes select the style: none for plain text.
func (s style) classes() []string {
	var classes []string
	if s.bold {
		classes = append(classes, "bold")
	}
	if s.faint {
		classes = append(classes, "faint")
	}
	if s.color != 0 {
		classes = append(classes, fmt.Sprintf("c%d", s.color))
	}
	return classes
}

// class is the attribute with classes, or empty.
func class(classes []string) string {
	if len(classes) == 0 {
		return ""
	}
	return fmt.Sprintf(" class=%q", strings.Join(classes, " "))
}
