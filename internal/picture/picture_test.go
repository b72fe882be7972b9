package main

import (
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

const output = "\ruspan: step \r\x1b[K\x1b[2m  0.1s \x1b[0m 9µs  \x1b[32m│ ╭ \x1b[0m\x1b[1mmain.f\x1b[0m(s=\"<&>\")\r\nplain\r\na b   c  \x1b[36m██▌\x1b[0m\r\n"

func TestParse(t *testing.T) {
	want := []line{
		{
			{"  0.1s ", style{faint: true}}, {" 9µs  ", style{}}, {"│ ╭ ", style{color: 32}},
			{"main.f", style{bold: true}}, {`(s="<&>")`, style{}},
		},
		{{"plain", style{}}},
		{{"a b   c  ", style{}}, {"██▌", style{color: 36}}},
	}
	if got := parse(output); !reflect.DeepEqual(got, want) {
		t.Errorf("parsed\n%+v\nwant\n%+v", got, want)
	}
}

func TestWrap(t *testing.T) {
	want := []line{
		{{"ab", style{bold: true}}, {"c", style{}}},
		{{"def", style{}}},
		{{"g", style{}}},
		nil,
		{{"xyz", style{}}},
	}
	if got := wrap(parse("\x1b[1mab\x1b[0mcdefg\n\nxyz\n"), 3); !reflect.DeepEqual(got, want) {
		t.Errorf("wrapped\n%+v\nwant\n%+v", got, want)
	}
}

func TestDraw(t *testing.T) {
	svg := draw(parse(output), 40)
	for _, want := range []string{
		// Four characters, two columns right of the margin.
		`<text class="faint" x="34" y="32" textLength="32">0.1s</text>`,
		`<text class="bold" x="154" y="32" textLength="48">main.f</text>`,
		`<text x="202" y="32" textLength="72">(s=&#34;&lt;&amp;&gt;&#34;)</text>`,
		`<path class="c32" d="M126 18v19M142 37V32q0-4 4-4h4"/>`,
		`<text x="18" y="51" textLength="40">plain</text>`,
		// Several spaces would be one. A bar is two columns and a half.
		`<text x="18" y="70" textLength="24">a b</text>`,
		`<text x="66" y="70" textLength="8">c</text>`,
		`<path class="c36 bar" d="M90 58h8v15h-8zM98 58h8v15h-8zM106 58h4v15h-4z"/>`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("%s is not in\n%s", want, svg)
		}
	}
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecord(t *testing.T) {
	got, err := record([]string{"sh", "-c", "test -t 2 && stty size >&2"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "24 114\r\n"; got != want {
		t.Errorf("the command wrote %q, want %q", got, want)
	}
	if _, err := record([]string{"sh", "-c", "exit 3"}); err == nil {
		t.Error("a command that failed is drawn")
	}
}
