package term

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspan/uspan/instrument/hist"
)

// drawnFunctions is how many functions have bars, those that took the most time; the
// others have a line each.
const drawnFunctions = 10

// Histograms draws how long calls took: for each function its quantiles and bars, by
// the time that its calls took together.
type Histograms struct {
	out     io.Writer
	palette palette
	width   func() int
	height  func() int
	// lines are those of the picture that the next one replaces.
	lines int
}

// NewHistograms returns what draws on out.
func NewHistograms(out io.Writer, config Config) *Histograms {
	h := &Histograms{out: out, palette: newPalette(config.Color), width: config.Width, height: config.Height}
	none := func() int { return 0 }
	if h.width == nil {
		h.width = none
	}
	if h.height == nil {
		h.height = none
	}
	return h
}

// Draw writes a picture that stays.
func (h *Histograms) Draw(all []hist.Histogram) error {
	return h.write(h.picture(all, drawnFunctions), false)
}

// Redraw writes a picture that the next one takes the place of, in a terminal that
// nothing else writes to. It has at most as many lines as that.
func (h *Histograms) Redraw(all []hist.Histogram) error {
	most := h.height() - 1
	lines := h.picture(all, drawnFunctions)
	for drawn := drawnFunctions - 1; most > 0 && len(lines) > most && drawn >= 0; drawn-- {
		lines = h.picture(all, drawn)
	}
	if most > 0 && len(lines) > most {
		lines = append(lines[:most-1:most-1], []piece{{"…", faint}})
	}
	return h.write(lines, true)
}

func (h *Histograms) write(lines [][]piece, replaced bool) error {
	var b bytes.Buffer
	if h.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", h.lines)
	}
	width := h.width()
	for _, line := range lines {
		for _, p := range cut(line, width) {
			b.WriteString(h.palette.paint(p.text, p.style))
		}
		b.WriteByte('\n')
	}
	h.lines = 0
	if replaced {
		h.lines = len(lines)
	}
	_, err := h.out.Write(b.Bytes())
	return err
}

// picture is all of it, with bars for so many functions.
func (h *Histograms) picture(all []hist.Histogram, drawn int) (lines [][]piece) {
	var seen []*hist.Histogram
	executables := make(map[string]bool)
	for i := range all {
		executables[all[i].Executable] = true
		if all[i].Seen() {
			seen = append(seen, &all[i])
		}
	}
	if len(seen) == 0 {
		return [][]piece{{{"no calls", faint}}}
	}
	slices.SortStableFunc(seen, func(a, b *hist.Histogram) int { return cmp.Compare(b.Sum, a.Sum) })
	several := len(executables) > 1
	for i, f := range seen[:min(drawn, len(seen))] {
		if i > 0 {
			lines = append(lines, nil)
		}
		lines = append(lines, h.heading(f, several))
		if f.Calls > f.Unbucketed {
			lines = append(lines, quantiles(f))
			lines = append(lines, h.bars(f)...)
		}
	}
	if rest := seen[min(drawn, len(seen)):]; len(rest) > 0 {
		if len(lines) > 0 {
			lines = append(lines, nil)
		}
		lines = append(lines, h.table(rest, several)...)
	}
	return lines
}

// name is that of a function, with its executable where there are several.
func name(f *hist.Histogram, several bool) string {
	if several {
		return clean(f.Function) + " of " + clean(f.Executable)
	}
	return clean(f.Function)
}

func (h *Histograms) heading(f *hist.Histogram, several bool) []piece {
	line := []piece{{name(f, several), bold}, {"  " + counted(f.Calls, "call"), plain}}
	switch {
	case f.Unknown != "" && f.Errors == 0:
		line = append(line, piece{", errors unknown", faint})
	case f.Errors > 0:
		text := counted(f.Errors, "error")
		if f.Panics > 0 {
			text += fmt.Sprintf(" (%s by a panic)", grouped(f.Panics))
		}
		line = append(line, piece{", ", plain}, piece{text, bad})
		if f.Unknown != "" {
			line = append(line, piece{", others unknown", faint})
		}
	}
	if f.Open > 0 {
		line = append(line, piece{fmt.Sprintf(", %s still open", grouped(f.Open)), odd})
	}
	if f.Lost > 0 {
		line = append(line, piece{fmt.Sprintf(", %s lost", grouped(f.Lost)), bad})
	}
	if f.Unbucketed > 0 {
		line = append(line, piece{fmt.Sprintf(", %s in no bucket", grouped(f.Unbucketed)), odd})
	}
	return line
}

// marks are the quantiles that are shown.
var marks = []struct {
	name string
	q    float64
}{{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}, {"max", 1}}

func quantiles(f *hist.Histogram) []piece {
	var line []piece
	for _, m := range marks {
		line = append(line, piece{"  " + m.name + " ", faint}, piece{human(f.Quantile(m.q)), plain})
	}
	return append(line, piece{"  total ", faint}, piece{human(f.Sum), plain})
}

// table has a line for each function.
func (h *Histograms) table(rest []*hist.Histogram, several bool) [][]piece {
	rows := [][]string{{"calls", "errors"}}
	for _, m := range marks {
		rows[0] = append(rows[0], m.name)
	}
	rows[0] = append(rows[0], "function")
	for _, f := range rest {
		row := []string{grouped(f.Calls), grouped(f.Errors)}
		if f.Unknown != "" {
			row[1] += "?"
		}
		for _, m := range marks {
			row = append(row, human(f.Quantile(m.q)))
		}
		rows = append(rows, append(row, name(f, several)))
	}
	last := len(rows[0]) - 1
	widths := make([]int, last)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], columns.StringWidth(row[i]))
		}
	}
	var lines [][]piece
	for n, row := range rows {
		style := plain
		if n == 0 {
			style = faint
		}
		var line []piece
		for i := range widths {
			line = append(line, piece{"  " + columns.FillLeft(row[i], widths[i]), style})
		}
		lines = append(lines, append(line, piece{"  " + row[last], style}))
	}
	return lines
}

// A row is calls that took at least low and less than high.
type row struct {
	low, high time.Duration
	calls     uint64
	marks     []string
}

// noted are the row's marks as they stand behind its bar.
func (r *row) noted() string {
	if len(r.marks) == 0 {
		return ""
	}
	return " " + strings.Join(r.marks, " ")
}

const (
	rowsMost   = 18
	barMost    = 60
	barDefault = 40
)

// bars draws the rows of a function.
func (h *Histograms) bars(f *hist.Histogram) (lines [][]piece) {
	rows := rowsOf(f)
	most, low, high, number, marked := uint64(0), 0, 0, 0, 0
	for _, r := range rows {
		most, marked = max(most, r.calls), max(marked, len(r.noted()))
		low, high = max(low, columns.StringWidth(bound(r.low))), max(high, columns.StringWidth(bound(r.high)))
		number = max(number, len(grouped(r.calls)))
	}
	margin := 2 + low + len(" … ") - 2 + high + 2 + number + 2
	room := barDefault
	if width := h.width(); width > 0 {
		room = min(max(width-margin-marked, 8), barMost)
	}
	for n := 0; n < len(rows); n++ {
		r := rows[n]
		if empty := emptyRows(rows[n:]); empty >= 3 {
			lines = append(lines, []piece{{strings.Repeat(" ", 2+low) + " ⋮", faint}})
			n += empty - 1
			continue
		}
		line := []piece{
			{fmt.Sprintf("  %s … %s", columns.FillLeft(bound(r.low), low), columns.FillRight(bound(r.high), high)), plain},
			{fmt.Sprintf("  %*s", number, grouped(r.calls)), plain},
		}
		if r.calls > 0 {
			line = append(line, piece{"  ", plain}, piece{bar(r.calls, most, room), barStyle})
		}
		if len(r.marks) > 0 {
			line = append(line, piece{r.noted(), faint})
		}
		lines = append(lines, line)
	}
	return lines
}

// emptyRows is how many rows without calls come first.
func emptyRows(rows []row) int {
	n := slices.IndexFunc(rows, func(r row) bool { return r.calls > 0 })
	return max(n, 0)
}

// bar is a bar of eighths of a column, one at least.
func bar(n, most uint64, room int) string {
	eighths := max(int(float64(n)/float64(most)*float64(room)*8+.5), 1)
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}

// scales are where rows may begin within a decade, the finest first. A row has to
// have several of the buckets, which overlap its bounds.
var scales = [][]float64{
	{1, 1.1, 1.25, 1.4, 1.6, 1.8, 2, 2.25, 2.5, 2.8, 3.2, 3.6, 4, 4.5, 5, 5.6, 6.4, 7.2, 8, 9},
	{1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8},
	{1, 2, 5},
	{1, 3},
	{1},
}

// rowsOf puts buckets together to rows, of the finest scale that makes few enough.
func rowsOf(f *hist.Histogram) (rows []row) {
	for _, scale := range scales {
		rows = scaled(f, scale)
		shown := 0
		for n := 0; n < len(rows); n++ {
			if empty := emptyRows(rows[n:]); empty >= 3 {
				n += empty - 1
			}
			shown++
		}
		if shown <= rowsMost {
			break
		}
	}
	for _, m := range marks[:len(marks)-1] {
		left := f.Rank(m.q)
		for i := range rows {
			if left <= rows[i].calls {
				rows[i].marks = append(rows[i].marks, m.name)
				break
			}
			left -= rows[i].calls
		}
	}
	return rows
}

// scaled are the rows of a scale, from the first with calls to the last. A bucket
// goes to the row that has its middle, the last one to that which has the longest
// call.
func scaled(f *hist.Histogram, scale []float64) (rows []row) {
	low := time.Duration(0)
	next := edges(scale)
	high := next()
	for i, b := range f.Buckets {
		middle := b.Low + (b.High-1-b.Low)/2
		if i == len(f.Buckets)-1 {
			middle = min(max(f.Max, b.Low), b.High-1)
		}
		for middle >= high {
			if len(rows) > 0 {
				rows = append(rows, row{low: high})
			}
			low, high = high, next()
			if len(rows) > 0 {
				rows[len(rows)-1].high = high
			}
		}
		if len(rows) == 0 {
			rows = append(rows, row{low: low, high: high})
		}
		rows[len(rows)-1].calls += b.Calls
	}
	return rows
}

// edges yields the bounds of rows, ascending, in whole nanoseconds.
func edges(scale []float64) func() time.Duration {
	decade, n, last := 1.0, 0, time.Duration(0)
	return func() time.Duration {
		for {
			edge := time.Duration(decade * scale[n])
			if n++; n == len(scale) {
				n, decade = 0, decade*10
			}
			if edge > last {
				last = edge
				return edge
			}
		}
	}
}

// bound is a bound of a row, in as few digits as it has.
func bound(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d >= unit.of {
			return strconv.FormatFloat(float64(d)/float64(unit.of), 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// grouped is a number with its thousands apart.
func grouped(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
