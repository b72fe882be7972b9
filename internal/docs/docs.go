// Package docs puts what commands have measured into pages of the documentation:
// between a line that names the command and one that ends it.
package docs

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const end = "<!-- end -->\n"

func begin(command string) string { return "<!-- made by " + command + " -->\n" }

// Wrap is what a command has measured, between its lines.
func Wrap(command, content string) string { return begin(command) + content + end }

// Cut is what a command has put into the text of a page, and what is around it.
func Cut(text, command string) (before, content, after string, found bool) {
	before, rest, begins := strings.Cut(text, begin(command))
	content, after, ends := strings.Cut(rest, end)
	return before, content, after, begins && ends
}

// Put replaces what a command has put into a page.
func Put(path, command, content string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, after, found := Cut(string(text), command)
	if !found {
		return fmt.Errorf("%s has no place for what %s makes: %q and %q", path, command, begin(command), end)
	}
	return os.WriteFile(path, []byte(before+Wrap(command, content)+after), 0o644)
}

// Machine is the line above what was measured: what it was measured on.
func Machine() string {
	var kernel unix.Utsname
	if unix.Uname(&kernel) != nil {
		return ""
	}
	return fmt.Sprintf("Linux %s, %s, %d processors, %s:\n\n",
		unix.ByteSliceToString(kernel.Release[:]), runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}
