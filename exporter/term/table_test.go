package term

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	table := &Table{Columns: []Column{{Head: "ENTRY", Least: 8}, {Head: "DECLARED AT", Least: 12, Path: true}, {Head: "FUNCTION"}}, Rows: slices.Values([]Row{
		{Cells: []string{"emulated", "/src/shop/cart/cart.go:15", "cart.(*Cart).Add(c *cart.Cart, thing string) error"}, Notes: []string{"arg c.things: a map below the capture depth"}},
		{Cells: []string{"-", "", "runtime.gogo"}, Notes: []string{"not traced"}, Faint: true},
	})}
	for _, test := range []struct {
		width int
		color bool
		want  string
	}{
		{0, false, `
ENTRY     DECLARED AT                FUNCTION
emulated  /src/shop/cart/cart.go:15  cart.(*Cart).Add(c *cart.Cart, thing string) error
    arg c.things: a map below the capture depth
-                                    runtime.gogo
    not traced
`},
		{40, false, `
ENTRY     FUNCTION
emulated  cart.(*Cart).Add(c *cart.Cart…
    arg c.things: a map below the
    capture depth
-         runtime.gogo
    not traced
`},
		{0, true, `
␛[2mENTRY     ␛[0m␛[2mDECLARED AT                ␛[0m␛[2mFUNCTION␛[0m
␛[2memulated  ␛[0m␛[2m/src/shop/cart/cart.go:15  ␛[0m␛[1mcart.(*Cart).Add(c *cart.Cart, thing string) error␛[0m
␛[33m    arg c.things: a map below the capture depth␛[0m
␛[2m-         ␛[0m␛[2m                           ␛[0m␛[2mruntime.gogo␛[0m
␛[2m    not traced␛[0m
`},
	} {
		var b bytes.Buffer
		if err := WriteTable(&b, Config{Color: test.color, Width: func() int { return test.width }}, table); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(b.String(), "\x1b", "␛")
		if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), got); diff != "" {
			t.Errorf("width %d: %s", test.width, diff)
		}
	}
}

// In narrow terminals names are what stays: places of declarations become shorter and
// go, and so do what probes cost.
func TestNarrowTables(t *testing.T) {
	table := &Table{
		Columns: []Column{{Head: "ENTRY", Least: 9}, {Head: "RETURNS", Least: 12}, {Head: "DECLARED AT", Least: 12, Path: true}, {Head: "FUNCTION"}},
		Rows: slices.Values([]Row{
			{Cells: []string{"emulated", "2, 1 single-stepped", "/src/shop/front/checkout.go:1215", "example.com/shop/front.(*Checkout).reserveAllLines(c *front.Checkout, ctx context.Context) error"}},
			{Cells: []string{"single-stepped", "in one", "main.go:7", "main.main()"}},
			{Cells: []string{"-", "-", "", "main.grüße世界"}, Notes: []string{"not traced: it never returns"}, Faint: true},
		}),
	}
	var got strings.Builder
	for _, width := range []int{0, 160, 120, 80, 60, 40, 20, 8, 1} {
		var b strings.Builder
		if err := WriteTable(&b, Config{Width: func() int { return width }}, table); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := columns.StringWidth(strings.TrimSuffix(line, "\n")); width >= 20 && n > width {
				t.Errorf("%d columns, not %d: %s", n, width, line)
			}
		}
		fmt.Fprintf(&got, "-- %d columns --\n%s", width, &b)
	}
	const golden = "testdata/table.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}
