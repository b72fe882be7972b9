// Command racing passes values that another goroutine changes all the time, each to
// one of those that it may have.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var sink int

//go:noinline
func use(values ...any) { sink += len(values) }

// A record has one of words for its name, and a number above 0.
type record struct {
	Name   string
	Secret string
	N      int
}

// words are of one length: wherever one is half written, it is one of them.
var words = []string{"alpha alpha alpha alpha", "bravo bravo bravo bravo", "china china china china", "delta delta delta delta"}

//go:noinline
func look(m map[string]string, l []record, p map[string]*record, s *[]string, a []any, g map[string]int, h map[int][]string) {
	use(m, l, p, s, a, g, h)
}

func main() {
	m, p, h := make(map[string]string), make(map[string]*record), make(map[int][]string)
	// A key's memory stays what it is: what a pointer leads to that was read before
	// the collector gave its memory to another string is that other string.
	var keys []string
	for i := 0; i < 16; i++ {
		keys = append(keys, fmt.Sprint("k", i))
	}
	var pool []*record
	for i := 0; i < 4; i++ {
		pool = append(pool, &record{words[i], "secret", i + 1})
	}
	l := make([]record, 16)
	for i := 0; i < 16; i++ {
		l[i] = record{words[i%4], "secret", 1}
		m[keys[i]] = words[0]
		p[keys[i]] = pool[0]
	}
	full := [2][]string{append([]string(nil), append(words, words...)...), append([]string(nil), append(words, words...)...)}
	s := full[0][:3]
	for i := 0; i < 6; i++ {
		h[i] = full[0][:3]
	}
	a := []any{words[0], words[1], words[2]}
	g := make(map[string]int)
	done := make(chan bool)
	stop := atomic.Bool{}
	go func() {
		defer close(done)
		for n := 0; !stop.Load(); n++ {
			word := words[n%4]
			m[keys[n%16]] = word
			p[keys[n%16]] = pool[n%4]
			l[n%16].Name, l[n%16].N = word, n%7+1
			pool[n%4].Name, pool[n%4].N = word, n%5+1
			s = full[n%2][:3+n%2*2]
			h[n%6] = full[n%2][:3+n%2*2]
			a[n%3] = word
			g[fmt.Sprintf("g%05d", n%20000)] = n%9 + 1
			if n%5000 == 0 {
				for key := range g {
					delete(g, key)
				}
			}
		}
	}()
	calls, _ := strconv.Atoi(os.Args[1])
	for i := 0; i < calls; i++ {
		look(m, l, p, &s, a, g, h)
	}
	stop.Store(true)
	<-done
}
