package term

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	table := &Table{Head: []string{"ENTRY", "DECLARED AT", "FUNCTION"}, Rows: slices.Values([]Row{
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
ENTRY     DECLARED AT       FUNCTION
emulated  …cart/cart.go:15  cart.(*Cart…
    arg c.things: a map below the
    capture depth
-                           runtime.gogo
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
