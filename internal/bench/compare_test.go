package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/docs"
	"github.com/uspan/uspan/internal/kerneltest"
)

// uspan counts every call, by process the recipe loses most of those that are nested,
// and the page has both.
func TestComparison(t *testing.T) {
	kerneltest.Require(t)
	t.Chdir("../..")
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+docs.Wrap(comparison, "old\n")+"behind\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeComparison(page); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?s)^before\n.*\nbehind\n$`,
		"(?m)^\\| `uspan hist` \\| 360 \\(360\\) \\|",
		"(?m)^\\| `uspan hist` \\| 2000 \\(2000\\) \\|",
		`(?m)^\| the recipe, by process .* \| 4[0-9] \(360\) \|`,
	} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old") {
		t.Error("what was there before still is")
	}
}

func TestOfLogarithms(t *testing.T) {
	d := ofLogarithms(&[64]uint64{0: 50, 10: 40, 20: 9, 30: 1})
	ns := time.Nanosecond
	if d.calls != 100 || !slices.Equal(d.low, []time.Duration{1 * ns, 1024 * ns, 1048576 * ns}) ||
		!slices.Equal(d.high, []time.Duration{2 * ns, 2048 * ns, 2097152 * ns}) {
		t.Errorf("%+v", d)
	}
	if d := ofLogarithms(&[64]uint64{}); d.calls != 0 {
		t.Errorf("%+v", d)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 999: "999ns", 12345: "12.3µs", 21_456_000: "21.5ms"} {
		if got := short(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}
