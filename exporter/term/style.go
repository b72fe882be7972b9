package term

import (
	"os"

	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// Detect is the configuration for a file: the colours and the width of a
// terminal, and neither where it is none. NO_COLOR, CLICOLOR and
// CLICOLOR_FORCE are honoured.
func Detect(file *os.File) Config {
	terminal := term.IsTerminal(int(file.Fd()))
	config := Config{Color: colored(terminal)}
	if terminal {
		config.Width = func() int {
			width, _, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
		config.Height = func() int {
			_, height, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 0
			}
			return height
		}
	}
	return config
}

// colored says whether to use colours. Any terminal that is not dumb is taken
// to have the 16 of them: what else tells (COLORTERM, a list of names for
// TERM) does not come through sudo, or misses terminals.
func colored(terminal bool) bool {
	force := os.Getenv("CLICOLOR_FORCE")
	switch {
	case os.Getenv("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	}
	name := os.Getenv("TERM")
	return terminal && name != "" && name != "dumb" && os.Getenv("CLICOLOR") != "0"
}

// A style is what a piece of a line looks like.
type style int

const (
	plain style = iota
	faint
	bold
	bad
	odd
	barStyle
	// goroutines is the first of the styles that tell goroutines apart.
	goroutines
)

// palette has the styles of terminals with colours, by the 16 that follow the
// user's theme. Red and yellow are kept for what went wrong.
type palette []termenv.Style

func newPalette(color bool) palette {
	if !color {
		return nil
	}
	text := termenv.ANSI.String
	p := palette{
		plain: text(),
		faint: text().Faint(),
		bold:  text().Bold(),
		bad:   text().Foreground(termenv.ANSIRed),
		odd:   text().Foreground(termenv.ANSIYellow),

		barStyle: text().Foreground(termenv.ANSICyan),
	}
	for _, color := range []termenv.ANSIColor{
		termenv.ANSICyan, termenv.ANSIGreen, termenv.ANSIMagenta,
		termenv.ANSIBrightBlue, termenv.ANSIBrightCyan, termenv.ANSIBrightGreen, termenv.ANSIBrightMagenta,
	} {
		p = append(p, text().Foreground(color))
	}
	return p
}

// goroutine is the style of a goroutine, the same for as long as it lives.
func (p palette) goroutine(id uint64) style {
	if p == nil {
		return plain
	}
	return goroutines + style(id%uint64(len(p)-int(goroutines)))
}

// paint is text in that style.
func (p palette) paint(text string, s style) string {
	if p == nil || s == plain || text == "" {
		return text
	}
	return p[s].Styled(text)
}
