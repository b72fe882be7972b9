package term

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/hist"
)

// taking is the histogram of a function whose calls took that long.
func taking(function string, durations ...time.Duration) hist.Histogram {
	h := hist.Histogram{Function: function, Executable: "./app", Calls: uint64(len(durations))}
	slices.Sort(durations)
	for _, d := range durations {
		h.Sum += d
		h.Max = d
		width := time.Duration(1) << max(bits.Len64(uint64(d))-6, 0)
		low := d / width * width
		if n := len(h.Buckets); n == 0 || h.Buckets[n-1].Low != low {
			h.Buckets = append(h.Buckets, hist.Bucket{Low: low, High: low + width})
		}
		h.Buckets[len(h.Buckets)-1].Calls++
	}
	return h
}

// around are durations that scatter by a factor, as those of calls do.
func around(n int, middle time.Duration, factor float64) (all []time.Duration) {
	random := rand.New(rand.NewPCG(uint64(n), uint64(middle)))
	for range n {
		all = append(all, time.Duration(float64(middle)*math.Pow(factor, random.NormFloat64())))
	}
	return all
}

var histogramScenarios = map[string]func() []hist.Histogram{
	"histograms": func() []hist.Histogram {
		cache := taking("shop/cart.(*Cart).Add", append(around(120_000, 1500*time.Nanosecond, 1.3), around(4000, 12*time.Millisecond, 1.5)...)...)
		cache.Errors, cache.Panics = 1234, 2
		cache.Open = 3
		brief := taking("main.brief", around(2_500_000, 40, 1.2)...)
		brief.Lost = 1
		steady := taking("main.tick", around(300, 100*time.Millisecond, 1.01)...)
		steady.Unknown = "no DWARF"
		wide := taking("main.wide", around(5000, time.Millisecond, 20)...)
		wide.Unknown, wide.Errors, wide.Panics = "no DWARF", 7, 7
		wide.Calls += 2
		wide.Unbucketed = 2
		once := taking("main.once", 0)
		return []hist.Histogram{cache, brief, steady, wide, once, {Function: "main.never", Executable: "./app"}, {Function: "main.waits", Executable: "./app", Open: 1}}
	},
	"histograms-many": func() (all []hist.Histogram) {
		for n := range 14 {
			h := taking(fmt.Sprintf("main.f%d", n), around(10*n, time.Duration(n)*time.Microsecond, 2)...)
			h.Errors = uint64(n % 3)
			if n == 2 {
				h.Unknown = "no DWARF"
			}
			if n == 3 {
				h.Executable = "./other\x1b[0m"
			}
			all = append(all, h)
		}
		return all
	},
	"histograms-none": func() []hist.Histogram { return []hist.Histogram{{Function: "main.never"}} },
}

func TestHistogramsGolden(t *testing.T) {
	for name, histograms := range histogramScenarios {
		t.Run(name, func(t *testing.T) {
			all := histograms()
			var got strings.Builder
			draw := func(title string, config Config) string {
				var b strings.Builder
				if err := NewHistograms(&b, config).Draw(all); err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "-- %s --\n%s", title, strings.ReplaceAll(b.String(), "\x1b", "␛"))
				return b.String()
			}
			draw("plain", Config{})
			for _, width := range []int{64, 140} {
				for line := range strings.Lines(draw(fmt.Sprintf("%d columns", width), Config{Width: func() int { return width }})) {
					if n := columns.StringWidth(strings.TrimSuffix(line, "\n")); n > width {
						t.Errorf("%d columns: %s", n, line)
					}
				}
			}
			draw("color", Config{Color: true})
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("drawn otherwise than in %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// In place, a picture goes over the one before, and is no higher than the terminal.
func TestRedraw(t *testing.T) {
	var b strings.Builder
	all := histogramScenarios["histograms-many"]()
	height := 20
	h := NewHistograms(&b, Config{Height: func() int { return height }})
	before := 0
	for _, height = range []int{20, 5, 200, 12, 2} {
		b.Reset()
		if err := h.Redraw(all); err != nil {
			t.Fatal(err)
		}
		up := fmt.Sprintf("\x1b[%dA\x1b[J", before)
		if before == 0 {
			up = ""
		}
		picture, ok := strings.CutPrefix(b.String(), up)
		before = strings.Count(picture, "\n")
		if !ok || before > height-1 || before < min(height-1, 5) || strings.Contains(picture, "\x1b") {
			t.Errorf("%d lines of %d: %q", before, height, b.String())
		}
	}
	// What stays is whole, and nothing goes over it.
	b.Reset()
	h.Draw(all)
	if n := strings.Count(b.String(), "\n"); n < 30 || !strings.HasPrefix(b.String(), "\x1b[1A\x1b[J") {
		t.Errorf("%d lines: %q", n, b.String()[:20])
	}
	b.Reset()
	h.Redraw(all)
	if strings.Contains(b.String(), "\x1b") {
		t.Errorf("it goes over what stays: %q", b.String()[:20])
	}
}

// The rows of every histogram have all calls that its buckets have, in order.
func TestRows(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		h := taking("main.f", around(1+random.IntN(500), time.Duration(math.Exp(20*random.Float64())), 1+3*random.Float64())...)
		rows := rowsOf(&h)
		calls, high := uint64(0), rows[0].low
		for _, r := range rows {
			if r.low != high || r.high <= r.low {
				t.Fatalf("%+v behind %v", r, high)
			}
			calls, high = calls+r.calls, r.high
		}
		if calls != h.Calls || rows[0].calls == 0 || rows[len(rows)-1].calls == 0 {
			t.Fatalf("%d of %d calls in %+v", calls, h.Calls, rows)
		}
		if last := rows[len(rows)-1]; h.Max < last.low || h.Max >= last.high {
			t.Fatalf("the longest takes %v, the last row is %v to %v", h.Max, last.low, last.high)
		}
		checkMarks(t, &h, rows)
	}
}

// checkMarks looks for each mark in the row that has the call of that rank.
func checkMarks(t *testing.T, h *hist.Histogram, rows []row) {
	t.Helper()
	before := uint64(0)
	var marked []string
	for _, r := range rows {
		for _, m := range r.marks {
			marked = append(marked, m)
			n := slices.Index([]string{"p50", "p90", "p99", "p99.9"}, m)
			if rank := h.Rank(marks[n].q); rank <= before || rank > before+r.calls {
				t.Fatalf("%s of %d is call %d, marked in a row of %d to %d: %+v", m, h.Calls, rank, before+1, before+r.calls, rows)
			}
		}
		before += r.calls
	}
	if len(marked) != len(marks)-1 {
		t.Fatalf("marks %v", marked)
	}
}

// A call of 4.99ms is in no row from 5ms on, although its bucket reaches there, and
// so are the marks of what is as long.
func TestLastRow(t *testing.T) {
	durations := []time.Duration{4990 * time.Microsecond, 4980 * time.Microsecond}
	for range 20 {
		durations = append(durations, 50*time.Microsecond)
	}
	h := taking("main.f", durations...)
	rows := rowsOf(&h)
	last := rows[len(rows)-1]
	if last.high != 5*time.Millisecond || last.calls != 2 || !slices.Equal(last.marks, []string{"p99", "p99.9"}) {
		t.Errorf("%+v", last)
	}
}

// All marks have room, wherever they are together.
func TestRoomForMarks(t *testing.T) {
	h := taking("main.f", around(400, time.Millisecond, 1.0001)...)
	for _, width := range []int{60, 72, 80, 100, 200} {
		var b strings.Builder
		if err := NewHistograms(&b, Config{Width: func() int { return width }}).Draw([]hist.Histogram{h}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, "█") && (strings.Contains(line, "p50") && !strings.HasSuffix(line, " p50 p90 p99 p99.9\n") || strings.HasSuffix(line, "…\n")) {
				t.Errorf("%d columns: %s", width, line)
			}
		}
	}
}
