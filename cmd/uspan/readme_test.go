package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/span"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The commands and flags of the README's examples exist.
func TestReadmeCommands(t *testing.T) {
	examples := regexp.MustCompile(`(?m)^ *(?:sudo .*)?uspan ((?:run|attach|list|hist|stacks|status|doctor) .*)$`).FindAllStringSubmatch(readme(t), -1)
	if len(examples) < 10 {
		t.Errorf("only %d examples found", len(examples))
	}
	for _, example := range examples {
		args := strings.Fields(strings.NewReplacer(`'`, "", `"`, "").Replace(example[1]))
		command, rest, err := newRoot().Find(args)
		if err == nil {
			err = command.ParseFlags(rest)
		}
		if err != nil {
			t.Errorf("uspan %s: %v", example[1], err)
		}
	}
}

// The commands that answer the README's questions are those that talk.txtar runs.
func TestReadmeQuestions(t *testing.T) {
	script, err := os.ReadFile("testdata/script/talk.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(readme(t), "\n| question | command |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	commands := regexp.MustCompile("`(?:sudo )?(uspan .*?fibonacci.*?)`").FindAllStringSubmatch(table, -1)
	if len(commands) != 5 {
		t.Errorf("the README asks %d questions", len(commands))
	}
	for _, command := range commands {
		// There the signal's spans go to a file, too.
		if rules, _, _ := strings.Cut(command[1], " -- "); !strings.Contains(string(script), " "+rules+" ") && !strings.Contains(string(script), " "+rules+"\n") {
			t.Errorf("%s is not in talk.txtar", command[1])
		}
	}
}

// configOfReadme is the configuration file in the README, in two pieces.
func configOfReadme(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(found) != 2 {
		t.Fatalf("the README has %d pieces of YAML", len(found))
	}
	return found[0][1] + found[1][1]
}

// The README names every attribute of a span.
func TestReadmeAttributes(t *testing.T) {
	text := readme(t)
	full := &span.Span{
		Function:    &span.Function{FullName: "main.f", File: "main.go", Line: 1},
		Args:        []span.Value{{Name: "NAME", Value: int64(1)}},
		Results:     []span.Value{{Name: "NAME", Value: int64(1)}},
		Unavailable: []string{"arg.x: float in a register"},
		Truncated:   []string{"arg.body: 128 of 4096 bytes"},
		Redacted:    []string{"arg.password"},
		Error:       &span.Error{Type: "*errors.errorString"},
		Incomplete:  span.Unwound,
		Exit:        &span.Exit{Signal: "SIGKILL"},
	}
	for _, attribute := range full.Attributes() {
		if !strings.Contains(text, "`"+attribute.Key+"`") {
			t.Errorf("%s is not in the README", attribute.Key)
		}
	}
	for _, why := range []span.Incomplete{span.Panic, span.Goexit, span.Unwound, span.ProcessExit, span.Detached} {
		if !strings.Contains(text, "`"+string(why)+"`") {
			t.Errorf("uspan.incomplete %q is not in the README", why)
		}
	}
}
