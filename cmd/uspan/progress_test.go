package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/internal/realserver"
)

// What takes long is said, and goes away; what does not is not.
func TestProgress(t *testing.T) {
	var out realserver.Buffer
	p := &progress{out: &out, after: time.Hour}
	p.Step("reading ./quick")
	p.after = 20 * time.Millisecond
	p.Step("reading ./app")
	for range 10000 {
		if out.String() != "" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.Clear()
	p.Step("")
	was := out.String()
	if !regexp.MustCompile(`^(\r\x1b\[Kuspan: reading ./app … 0 s)+\r\x1b\[K$`).MatchString(was) {
		t.Errorf("%q", was)
	}
	time.Sleep(60 * time.Millisecond)
	if now := out.String(); now != was {
		t.Errorf("%q behind the end", now)
	}
	var none *progress
	none.Step("reading")
	none.Clear()
}

// Every command's help begins with examples, and has them once; that of uspan has one
// for each command.
func TestExamples(t *testing.T) {
	for _, command := range append([]*cobra.Command{newRoot()}, newRoot().Commands()...) {
		if command.Name() == "help" || command.Name() == "completion" {
			continue
		}
		root := newRoot()
		var help strings.Builder
		root.SetOut(&help)
		root.SetArgs(append(strings.Fields(command.CommandPath())[1:], "--help"))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^  (sudo )?uspan `).MatchString(help.String()) {
			t.Errorf("the help of %s begins otherwise:\n%s", command.CommandPath(), help.String())
		}
		for example := range strings.Lines(command.Example) {
			if n := strings.Count(help.String(), strings.TrimSpace(example)); n != 1 {
				t.Errorf("the help of %s has %d times: %s", command.CommandPath(), n, example)
			}
		}
		if command.HasParent() && !strings.Contains(root.Example, "uspan "+command.Name()) {
			t.Errorf("the help of uspan has no example of %s", command.Name())
		}
	}
}
