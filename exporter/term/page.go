package term

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/uspan/uspan/instrument/span"
)

// A page prints lines below one another, in columns: the time since the first
// call, the duration, the process where there are several, the goroutine, and
// the call at its depth.
type page struct {
	palette palette
	width   func() int

	start   time.Time
	process *span.Resource
	// several says that there is more than one process.
	several bool
	// The widest so far of columns whose width is not known beforehand.
	processWidth, goroutineWidth int
}

func newPage(config Config) *page {
	p := &page{palette: newPalette(config.Color), width: config.Width, goroutineWidth: len("g123")}
	if p.width == nil {
		p.width = func() int { return 0 }
	}
	return p
}

// A piece is text in one style.
type piece struct {
	text  string
	style style
}

func (p *page) print(out *bytes.Buffer, lines []*line) {
	width := p.width()
	for _, l := range lines {
		pieces := p.line(l, width, 0)
		// Where a line is too long, long values give way first, so that the
		// results can still be seen.
		for most := 48; width > 0 && breadth(pieces) > width && most >= 10; most = most * 3 / 4 {
			pieces = p.line(l, width, most)
		}
		p.write(out, cut(pieces, width))
		if l.kind == opened || l.kind == leaf || l.kind == endlessLeaf {
			p.stack(out, l.span, width)
		}
	}
}

// stack prints who called, the nearest first, below a call.
func (p *page) stack(out *bytes.Buffer, s *span.Span, width int) {
	if s.Stack == nil {
		return
	}
	margin := breadth(p.margin(&line{kind: opened, span: s}))
	write := func(what string, f *span.Frame) {
		pieces := []piece{{strings.Repeat(" ", margin), plain}, {indentation(s.Level, width), p.palette.goroutine(s.Goroutine)}}
		if f != nil {
			what += clean(f.Function)
		}
		pieces = append(pieces, piece{"    " + what, faint})
		if f != nil && f.File != "" {
			pieces = append(pieces, piece{fmt.Sprintf("  %s:%d", clean(path.Base(f.File)), f.Line), faint})
		}
		p.write(out, cut(pieces, width))
	}
	for i := range s.Stack.Frames[1:] {
		write("← ", &s.Stack.Frames[i+1])
	}
	if s.Stack.Cut {
		write("← …", nil)
	}
	if s.Stack.Creator != nil {
		write("created by ", s.Stack.Creator)
	}
}

func (p *page) write(out *bytes.Buffer, pieces []piece) {
	for _, piece := range pieces {
		out.WriteString(p.palette.paint(piece.text, piece.style))
	}
	out.WriteByte('\n')
}

// line is a line of which no value takes more than valueWidth columns.
func (p *page) line(l *line, width, valueWidth int) []piece {
	if l.kind == gap {
		return []piece{{fmt.Sprintf("  … %d lines left out: the terminal is slower than the calls", l.missing), odd}}
	}
	s := l.span
	pieces := p.margin(l)
	goroutine := p.palette.goroutine(s.Goroutine)
	glyph := goroutine
	if s.Failed() {
		glyph = bad
	}
	pieces = append(pieces, piece{indentation(s.Level, width), goroutine}, piece{l.kind.glyph(), glyph})
	if name := clean(s.Function.Name); l.kind == closed || l.kind == endless {
		pieces = append(pieces, piece{name, plain})
	} else {
		pieces = append(pieces, piece{name, bold}, piece{arguments(s, valueWidth), plain})
		if s.Link != nil {
			// A trace of its own, although it stands below the call that made it.
			pieces = append(pieces, piece{fmt.Sprintf(" ⇠ trace %x from %x", s.TraceID[:4], s.Link.TraceID[:4]), faint})
		}
	}
	switch l.kind {
	case leaf, closed:
		pieces = append(pieces, results(s, valueWidth)...)
	case endless, endlessLeaf:
		pieces = append(pieces, piece{" ! end not seen", odd})
	}
	return pieces
}

// glyph is what joins a call to the tree.
func (k kind) glyph() string {
	switch k {
	case opened:
		return "╭ "
	case closed, endless:
		return "╰ "
	default:
		return "• "
	}
}

// margin is what stands left of the tree.
func (p *page) margin(l *line) []piece {
	s := l.span
	at, duration := s.Start, ""
	switch l.kind {
	case closed:
		at, duration = s.End, human(s.Duration())
	case leaf:
		duration = human(s.Duration())
	case endless:
		at = time.Time{}
	}
	if p.start.IsZero() {
		p.start, p.process = s.Start, s.Resource
	}
	clock := ""
	if !at.IsZero() {
		clock = fmt.Sprintf("%.6fs", at.Sub(p.start).Seconds())
	}
	pieces := []piece{
		{fmt.Sprintf("%11s ", clock), faint},
		{strings.Repeat(" ", max(0, 7-columns.StringWidth(duration))) + duration + "  ", plain},
	}
	p.several = p.several || s.Resource != p.process
	if p.several {
		process := clean(s.Resource.Executable) + "[" + strconv.Itoa(s.Resource.PID) + "]"
		p.processWidth = max(p.processWidth, columns.StringWidth(process))
		pieces = append(pieces, piece{columns.FillRight(process, p.processWidth) + "  ", faint})
	}
	goroutine := "g" + strconv.FormatUint(s.Goroutine, 10)
	if s.Goroutine == 0 {
		goroutine = "t" + strconv.FormatUint(uint64(s.Thread), 10)
	}
	p.goroutineWidth = max(p.goroutineWidth, len(goroutine))
	return append(pieces, piece{
		fmt.Sprintf("%-*s  ", p.goroutineWidth, goroutine), p.palette.goroutine(s.Goroutine),
	})
}

// indentation has a line for each open call around one. From some depth on a
// number stands for more, so that the call itself stays in sight.
func indentation(level, width int) string {
	most := 32
	if width > 0 {
		most = min(most, max(1, width/6))
	}
	if level <= most {
		return strings.Repeat("│ ", level)
	}
	return strings.Repeat("│ ", most) + "+" + strconv.Itoa(level-most) + " "
}

// arguments are in parentheses, those that there are.
func arguments(s *span.Span, width int) string {
	if len(s.Args) == 0 && !s.Values {
		return "(…)"
	}
	texts := make([]string, 0, len(s.Args))
	for _, v := range s.Args {
		texts = append(texts, named(v)+valueText(v, width))
	}
	return "(" + strings.Join(texts, ", ") + ")"
}

// results are the results, the error marked, and what else there is to say of
// the end.
func results(s *span.Span, width int) []piece {
	var pieces []piece
	marked := s.Error == nil
	for i, v := range s.Results {
		before, style := ", ", plain
		if i == 0 {
			before = " = "
			if len(s.Results) > 1 {
				before = " = ("
			}
		}
		if len(s.Results) > 1 {
			before += named(v)
		}
		text := valueText(v, width)
		if e, ok := v.Value.(*span.Error); ok && e != nil && !marked && i == len(s.Results)-1 {
			text, style, marked = "✗ "+text, bad, true
		}
		pieces = append(pieces, piece{before, faint}, piece{text, style})
	}
	if len(s.Results) > 1 {
		pieces = append(pieces, piece{")", faint})
	}
	if !marked {
		pieces = append(pieces, piece{" ✗ " + errorText(s.Error, "", width), bad})
	}
	if s.Incomplete != "" {
		pieces = append(pieces, piece{" ! " + clean(string(s.Incomplete)), odd})
	}
	switch {
	case s.Exit == nil:
	case s.Exit.Signal != "":
		pieces = append(pieces, piece{", " + s.Exit.Signal, odd})
	default:
		pieces = append(pieces, piece{fmt.Sprintf(", status %d", s.Exit.Status), odd})
	}
	return pieces
}

// named is the value's name and an equals sign, where it has a name.
func named(v span.Value) string {
	if _, err := strconv.Atoi(v.Name); err == nil || v.Name == "" {
		return ""
	}
	return clean(v.Name) + "="
}

// human is a duration in three digits and a unit.
func human(d time.Duration) string {
	number := func(unit time.Duration, name string) string {
		n := float64(d) / float64(unit)
		precision := 2
		switch {
		case n >= 99.95:
			precision = 0
		case n >= 9.995:
			precision = 1
		}
		return strconv.FormatFloat(n, 'f', precision, 64) + name
	}
	switch {
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + "ns"
	case d < 999_500*time.Nanosecond:
		return number(time.Microsecond, "µs")
	case d < 999_500*time.Microsecond:
		return number(time.Millisecond, "ms")
	case d < time.Minute:
		return number(time.Second, "s")
	default:
		return d.Round(time.Second).String()
	}
}

// breadth is the number of columns that the pieces take.
func breadth(pieces []piece) int {
	n := 0
	for _, p := range pieces {
		n += columns.StringWidth(p.text)
	}
	return n
}

// cut is the pieces cut to width, where that is not 0.
func cut(pieces []piece, width int) []piece {
	if width == 0 || breadth(pieces) <= width {
		return pieces
	}
	room := width - 1
	for i, p := range pieces {
		if n := columns.StringWidth(p.text); n <= room {
			room -= n
			continue
		}
		p.text = columns.Truncate(p.text, room, "")
		return append(pieces[:i:i], p, piece{"…", faint})
	}
	return pieces
}
