package term

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
)

// A Table has rows in columns, of which the last has no bound but the terminal's
// width.
type Table struct {
	Head []string
	// Rows are gone through twice: there may be too many to hold.
	Rows iter.Seq[Row]
}

// A Row is a line of a Table, and what stands below it.
type Row struct {
	Cells []string
	Notes []string
	// Faint says that there is nothing to see here.
	Faint bool
}

// WriteTable writes a table: cut to the width of a terminal, and with its colours.
func WriteTable(w io.Writer, config Config, table *Table) error {
	width := 0
	if config.Width != nil {
		width = config.Width()
	}
	p := newPalette(config.Color)
	last := len(table.Head) - 1
	widths := make([]int, last)
	for i := range widths {
		widths[i] = widthOf(table.Head[i])
	}
	for row := range table.Rows {
		for i := range widths {
			widths[i] = max(widths[i], widthOf(row.Cells[i]))
		}
	}
	if width > 0 { // places are paths: what is cut is their beginning
		for i := range widths {
			widths[i] = min(widths[i], max(16, width/4))
		}
	}
	out := bufio.NewWriter(w)
	line := func(cells []string, style, lastStyle style) {
		var pieces []piece
		for i, cell := range cells[:last] {
			cell = clean(cell)
			n := widthOf(cell)
			if n > widths[i] {
				cell = "…" + columns.TruncateLeft(cell, n-widths[i]+1, "")
				n = widthOf(cell)
			}
			pieces = append(pieces, piece{cell + strings.Repeat(" ", max(0, widths[i]-n)+2), style})
		}
		pieces = append(pieces, piece{clean(cells[last]), lastStyle})
		for _, piece := range cut(pieces, width) {
			fmt.Fprint(out, p.paint(piece.text, piece.style))
		}
		fmt.Fprintln(out)
	}
	line(table.Head, faint, faint)
	for row := range table.Rows {
		name, note := bold, odd
		if row.Faint {
			name, note = faint, faint
		}
		line(row.Cells, faint, name)
		for _, text := range row.Notes {
			for _, text := range wrapped(clean(text), width-4) {
				fmt.Fprintln(out, p.paint("    "+text, note))
			}
		}
	}
	return out.Flush()
}

// widthOf is the number of columns that a text takes: mostly it is ASCII.
func widthOf(text string) int {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return columns.StringWidth(text)
		}
	}
	return len(text)
}

// wrapped is a text in lines of a width; of any, where that is not above 0.
func wrapped(text string, width int) (lines []string) {
	if width <= 0 {
		return []string{text}
	}
	line := ""
	for _, word := range strings.Split(text, " ") {
		switch {
		case line == "":
			line = word
		case columns.StringWidth(line)+1+columns.StringWidth(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
