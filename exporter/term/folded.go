package term

import (
	"bufio"
	"fmt"
	"io"

	"github.com/uspan/uspan/instrument/profile"
)

// WriteFolded writes a line for each stack, as profile.WriteFolded does, with colours
// where there are any: the function that was called stands out, and the number.
func WriteFolded(w io.Writer, config Config, counts []profile.Count) error {
	p := newPalette(config.Color)
	if p == nil {
		return profile.WriteFolded(w, counts)
	}
	out := bufio.NewWriter(w)
	for _, f := range profile.Folded(counts) {
		last := len(f.Functions) - 1
		for _, name := range f.Functions[:last] {
			fmt.Fprint(out, p.paint(clean(name)+";", faint))
		}
		fmt.Fprintln(out, p.paint(clean(f.Functions[last]), bold), p.paint(fmt.Sprint(f.Calls), barStyle))
	}
	return out.Flush()
}
