package profile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/span"
)

// stack has the functions, the innermost first, at lines that count up.
func stack(cut bool, line int, functions ...string) *span.Stack {
	s := &span.Stack{Cut: cut}
	for _, f := range functions {
		s.Frames = append(s.Frames, span.Frame{Function: f, File: "/src/main.go", Line: line})
		s.Text += f + string(rune('a'+line)) + "\n"
		line++
	}
	return s
}

func counts() []Count {
	return Merge([]Count{
		{stack(false, 1, "main.load", "main.main"), 3, "./app"},
		{stack(false, 1, "main.load", "main.(*T[...]).f", "main.main"), 2, "./app"},
		{stack(false, 1, "main.load", "main.main"), 40, "./app"},
		{stack(false, 2, "main.load", "main.main"), 5, "./app"},
		{stack(true, 1, "main.save", "main.dig"), 1, "./app"},
	})
}

// What is the same stack in two executables is two.
func TestMerge(t *testing.T) {
	s := stack(false, 1, "main.load", "main.main")
	got := Merge([]Count{{s, 3, "./app"}, {s, 2, "./other"}, {s, 1, "./app"}})
	want := []Count{{s, 2, "./other"}, {s, 4, "./app"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFolded(t *testing.T) {
	var b bytes.Buffer
	if err := WriteFolded(&b, counts()); err != nil {
		t.Fatal(err)
	}
	want := `…;main.dig;main.save 1
main.main;main.(*T[...]).f;main.load 2
main.main;main.load 48
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, counts()[:2]); err != nil {
		t.Fatal(err)
	}
	want := `{"function":"main.save","calls":1,"cut":true,"stack":[{"function":"main.save","file":"/src/main.go","line":1},{"function":"main.dig","file":"/src/main.go","line":2}]}
{"function":"main.load","calls":2,"stack":[{"function":"main.load","file":"/src/main.go","line":1},{"function":"main.(*T[...]).f","file":"/src/main.go","line":2},{"function":"main.main","file":"/src/main.go","line":3}]}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// go tool pprof reads the profile.
func TestPprof(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.pprof")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WritePprof(file, counts(), time.Unix(1e9, 0), 3*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^File: app$`,
		`(?m)^Type: calls$`,
		`(?m)^Duration: 3s, Total samples = 51 *$`,
		`(?m)^ +50 98\.04% 98\.04% +50 98\.04%  main\.load$`,
		`(?m)^ +0 +0% +100% +50 98\.04%  main\.main$`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}
