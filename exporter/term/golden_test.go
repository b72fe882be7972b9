package term

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/span"
)

var update = flag.Bool("update", false, "write the golden files anew")

var scenarios = map[string]func(p *program){
	"nested": func(p *program) {
		checkout := p.begin(18, "main.checkout", value("user", int64(7)), value("coupon", "SPRING"))
		time.Sleep(14 * time.Microsecond)
		p.leaf(18, "cart.(*Cart).Len", 310, value("c", span.Pointer(0xc000012340)))
		load := p.begin(18, "cart.Load", value("id", int64(7)))
		time.Sleep(20 * time.Microsecond)
		add := p.begin(18, "main.add", value("a", int64(1)), value("b", int64(2)))
		time.Sleep(1200)
		add.end(value("0", int64(3)))
		load.end(value("n", int64(3)), value("err", (*span.Error)(nil)))
		time.Sleep(6 * time.Millisecond)
		checkout.end(value("0", (*span.Error)(nil)))
	},
	"stacks": func(p *program) {
		main := span.Frame{Function: "main.main", File: "/src/shop/main.go", Line: 12}
		outer := p.call(18, "main.serve")
		outer.begin.Stack = &span.Stack{
			Frames:  []span.Frame{{Function: "main.serve"}, {Function: "main.(*pool).work.func1", File: "/src/shop/pool.go", Line: 31}},
			Creator: &main,
		}
		begin := outer.begin
		p.tree.Export([]*span.Span{&begin})
		time.Sleep(200 * time.Millisecond)
		inner := p.call(18, "main.load")
		inner.begin.Stack = &span.Stack{Frames: []span.Frame{{Function: "main.load"}, {Function: "[code that is not Go's]"}, main}, Cut: true}
		within := inner.begin
		p.tree.Export([]*span.Span{&within})
		inner.end()
		outer.end()
	},
	"links": func(p *program) {
		// A loop that waits for work: what it calls, and the goroutine that it begins,
		// are roots, in the order of the calls all the same.
		serve := p.call(1, "main.serve")
		serve.begin.TraceID[0] = 0x5e
		begin := serve.begin
		p.tree.Export([]*span.Span{&begin})
		note := p.linked(serve, 1, "main.note", value("n", int64(0)))
		p.leaf(1, "main.step", time.Microsecond)
		time.Sleep(10 * time.Microsecond)
		note.end()
		handle := p.linked(serve, 7, "main.handle", value("n", int64(1)))
		time.Sleep(time.Millisecond)
		p.linked(serve, 1, "main.note", value("n", int64(2))).end(value("err", &span.Error{Type: "*main.full"}))
		p.leaf(7, "main.step", 2*time.Microsecond)
		handle.end(value("ok", true))
		serve.end()
	},
	"recursion": func(p *program) {
		var fibonacci func(n int64) int64
		fibonacci = func(n int64) int64 {
			c := p.begin(1, "main.fibonacci", value("n", n))
			time.Sleep(time.Microsecond)
			result := n
			if n > 1 {
				result = fibonacci(n-1) + fibonacci(n-2)
			}
			c.end(value("0", result))
			return result
		}
		fibonacci(4)
	},
	"deep": func(p *program) {
		var stack []*open
		for n := range int64(35) {
			stack = append(stack, p.begin(1, "main.dig", value("n", n)))
			time.Sleep(time.Microsecond)
		}
		for len(stack) > 0 {
			stack[len(stack)-1].end()
			stack = stack[:len(stack)-1]
		}
	},
	"goroutines": func(p *program) {
		a := p.begin(7, "main.handle", value("id", int64(1)))
		b := p.begin(8, "main.handle", value("id", int64(2)))
		time.Sleep(10 * time.Microsecond)
		p.leaf(8, "db.Query", 900*time.Microsecond, value("q", "SELECT 2"))
		c := p.begin(1234, "main.handle", value("id", int64(3)))
		p.leaf(7, "db.Query", 2*time.Millisecond, value("q", "SELECT 1"))
		b.end()
		wait := p.begin(1234, "main.wait")
		p.leaf(7, "log.Print", time.Microsecond)
		a.end()
		p.leaf(0, "runtime.retake", time.Microsecond)
		time.Sleep(50 * time.Millisecond)
		wait.end()
		c.end()
	},
	"errors": func(p *program) {
		declined := &span.Error{Type: "*pay.Declined", Message: "card \"4711\" declined"}
		outer := p.begin(5, "main.pay", value("amount", int64(1299)))
		inner := p.begin(5, "pay.Charge", value("amount", int64(1299)))
		time.Sleep(time.Millisecond)
		inner.end(value("id", int64(0)), value("err", declined))
		outer.end(value("0", declined))
		p.begin(5, "fs.Open").end(value("0", &span.Error{Type: "*fs.PathError"}))
		// Without values, and with an error that is none.
		bare := p.begin(5, "main.bare")
		bare.begin.Values = false
		s := bare.ended()
		s.Error = declined
		p.tree.Export([]*span.Span{s})
		read := p.begin(5, "io.ReadFull").ended()
		read.Results = []span.Value{value("n", int64(0)), value("err", &span.Error{Type: "*errors.errorString", Message: "EOF"})}
		p.tree.Export([]*span.Span{read})
	},
	"unwound": func(p *program) {
		outer := p.begin(5, "main.recovers")
		middle := p.begin(5, "main.panics", value("n", int64(3)))
		p.begin(5, "main.leaf").incomplete(span.Unwound)
		middle.incomplete(span.Unwound)
		outer.end()
		p.begin(6, "main.serve").incomplete(span.Detached)
		main := p.begin(1, "main.main")
		p.begin(1, "os.Exit", value("code", int64(1))).incomplete(span.ProcessExit)
		main.incomplete(span.ProcessExit)
	},
	"long": func(p *program) {
		// The first is shown while it is open, the second not before it;
		// whole calls behind them wait, so that times go forward.
		slow := p.begin(1, "main.slow", value("n", int64(1)))
		time.Sleep(30 * time.Millisecond)
		quick := p.begin(2, "main.quick")
		time.Sleep(60 * time.Millisecond)
		quick.end()
		time.Sleep(90 * time.Millisecond)
		p.leaf(2, "main.quick", time.Millisecond)
		slow.end(value("0", true))
		hour := p.begin(3, "main.sleep")
		time.Sleep(90*time.Minute + 100*time.Millisecond)
		hour.end()
	},
	"control": func(p *program) {
		nasty := "\x1b]0;owned\a\x1b[2J\r\n\u202etxt\u0085\xff"
		c := p.begin(1, "main.\x1b[31mred", value("s\n", nasty))
		c.end(value("0", &span.Error{Type: "*x.\x1b[0m", Message: nasty}))
		p.another(1, "ev\x1bil").leaf(1, "main.f", 1, value("a\x00", []string{nasty}))
	},
	"wide": func(p *program) {
		c := p.begin(1, "main.grüße", value("an", "世界の皆さん、こんにちは。世界の皆さん、こんにちは。"), value("n", int64(1)))
		time.Sleep(time.Microsecond)
		c.end(value("0", "👍🏽"), value("1", (*span.Error)(nil)))
		p.leaf(1, "main."+strings.Repeat("世", 60), time.Microsecond)
	},
	"values": func(p *program) {
		c := p.begin(1, "main.values",
			value("i", int64(-1)), value("u", uint64(1<<63)), value("f", 1.5), value("b", true),
			value("p", span.Pointer(0xc000010000)), value("nothing", span.Pointer(0)),
			value("s", "a\tb"), noted("body", "0123456789", "10 of 4096 bytes"),
			noted("x", nil, "float in a register"), noted("password", nil, "redacted"),
			value("err", (*span.Error)(nil)), noted("cause", &span.Error{Type: "*errors.errorString", Message: "no st"}, "5 of 8 bytes"),
			value("full", &span.Error{Type: "*main.full", Message: "disk", Value: value("", span.Struct{value("Code", int64(5)), value("Msg", "disk")})}),
			value("0", int64(9)))
		c.end(value("n", int64(12)))
		unknown := p.begin(1, "main.unknown")
		unknown.begin.Values = false
		s := unknown.ended()
		p.tree.Export([]*span.Span{s})
		long := p.begin(1, "main.long", value("s", strings.Repeat("long ", 30)), value("t", strings.Repeat("x", 300)))
		long.end(value("0", "the result stays in sight"))
	},
	"lost": func(p *program) {
		// The beginning was lost, then an end, then that of a leaf.
		c := p.call(1, "main.begunUnseen", value("a", int64(1)))
		p.leaf(1, "main.inner", time.Microsecond)
		c.end(value("0", int64(2)))
		outer := p.begin(1, "main.outer")
		vanishing := p.begin(1, "main.vanishes", value("a", int64(1)))
		p.leaf(1, "main.inner", time.Microsecond)
		vanishing.vanish()
		p.begin(1, "main.vanishesToo", value("a", int64(2))).vanish()
		outer.end()
		p.begin(1, "main.last").vanish()
		p.leaf(1, "main.inner", time.Microsecond)
	},
	"processes": func(p *program) {
		p.leaf(1, "main.alone", time.Microsecond)
		other := p.another(77, "worker")
		a := p.begin(1, "main.send", value("to", int64(77)))
		b := other.begin(1, "main.receive")
		p.leaf(1, "net.Write", time.Microsecond)
		other.leaf(1, "net.Read", time.Microsecond)
		b.end()
		a.end()
	},
}

func TestGolden(t *testing.T) {
	for name, run := range scenarios {
		t.Run(name, func(t *testing.T) {
			const width = 72
			got := "-- plain --\n" + draw(t, Config{}, run)
			narrow := draw(t, Config{Width: func() int { return width }}, run)
			for line := range strings.Lines(narrow) {
				if n := columns.StringWidth(strings.TrimSuffix(line, "\n")); n > width {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			got += fmt.Sprintf("-- %d columns --\n", width) + narrow
			// Escapes stand for the control characters of colours, so that
			// the file can be looked at.
			colored := draw(t, Config{Color: true}, run)
			got += "-- color --\n" + strings.ReplaceAll(colored, "\x1b", "␛")

			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("drawn otherwise than in %s (-want +got):\n%s", file, diff)
			}
		})
	}
}
