package term

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// A Table has rows in columns, of which the last matters most: where the terminal is
// narrow, it gets half of the width if it needs that.
type Table struct {
	Columns []Column
	// Rows are gone through twice: there may be too many to hold.
	Rows iter.Seq[Row]
	// Outline is the cells of Rows without the last. Where there is no terminal, that is
	// enough to know how wide the columns are; nil: it takes as long as Rows.
	Outline iter.Seq[[]string]
}

// A Column is one of a table.
type Column struct {
	Head string
	// Least is how narrow the column can be made; where that is not enough, it goes.
	Least int
	// Path says that of what is cut the end stays.
	Path bool
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
	last := len(table.Columns) - 1
	head, widths := make([]string, last+1), make([]int, last+1)
	for i, c := range table.Columns {
		head[i], widths[i] = c.Head, widthOf(c.Head)
	}
	for cells := range table.outline(width > 0) {
		for i := range cells {
			widths[i] = max(widths[i], widthOf(cells[i]))
		}
	}
	if width > 0 {
		table.narrow(widths, width)
	}
	out := bufio.NewWriter(w)
	line := func(cells []string, style, lastStyle style) {
		var pieces []piece
		for i, cell := range cells[:last] {
			if widths[i] == 0 {
				continue
			}
			cell = clean(cell)
			n := widthOf(cell)
			if n > widths[i] {
				if table.Columns[i].Path {
					cell = "…" + columns.TruncateLeft(cell, n-widths[i]+1, "")
				} else {
					cell = columns.Truncate(cell, widths[i], "…")
				}
				n = widthOf(cell)
			}
			pieces = append(pieces, piece{cell + strings.Repeat(" ", max(0, widths[i]-n)+between), style})
		}
		pieces = append(pieces, piece{clean(cells[last]), lastStyle})
		for _, piece := range cut(pieces, width) {
			fmt.Fprint(out, p.paint(piece.text, piece.style))
		}
		fmt.Fprintln(out)
	}
	line(head, faint, faint)
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

// outline is the cells of all rows: of all columns, where those are wanted.
func (t *Table) outline(all bool) iter.Seq[[]string] {
	if t.Outline != nil && !all {
		return t.Outline
	}
	return func(yield func([]string) bool) {
		for row := range t.Rows {
			if !yield(row.Cells) {
				return
			}
		}
	}
}

// between is the space between columns.
const between = 2

// narrow makes columns so narrow that the last one has the room that it needs, or
// half of a width: as far as they can be, those on the right first. Where that is not
// enough, one goes, and its width is 0.
func (t *Table) narrow(widths []int, width int) {
	last := len(widths) - 1
	room := width - min(widths[last], width/2)
	for shown := last; shown > 0; shown-- {
		over := shown*between - room
		for _, n := range widths[:shown] {
			over += n
		}
		narrower := slices.Clone(widths[:shown])
		for i := shown - 1; i >= 0 && over > 0; i-- {
			take := max(min(over, narrower[i]-t.Columns[i].Least), 0)
			narrower[i] -= take
			over -= take
		}
		if over <= 0 {
			copy(widths, narrower)
			return
		}
		widths[shown-1] = 0
	}
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
