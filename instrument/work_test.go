package instrument_test

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// working are all functions of testdata/work but helper and what begins the
// workers.
var working = plan.Rules{Patterns: []string{"main.*", "!main.helper", "!main.pools", "!main.clients"}, Values: true}

// forest knows spans by their ids.
type forest map[span.ID]*span.Span

func newForest(spans []*span.Span) forest {
	f := make(forest)
	for _, s := range spans {
		f[s.ID] = s
	}
	return f
}

// above is the name of the function that a span comes from: of its parent, or,
// with an arrow, of the other end of its link; none for a root without one.
func (f forest) above(s *span.Span) string {
	switch {
	case s.Link != nil && s.Parent == span.ID{} && f[s.Link.ID] != nil && f[s.Link.ID].TraceID == s.Link.TraceID && s.TraceID != s.Link.TraceID:
		return "⇠ " + f[s.Link.ID].Function.Name
	case s.Link == nil && f[s.Parent] != nil && f[s.Parent].TraceID == s.TraceID:
		return f[s.Parent].Function.Name
	case s.Link == nil && s.Parent == span.ID{}:
		return "none"
	}
	return "broken"
}

// A trace is a unit of work: calls and goroutines that a loop makes which waits
// for work are roots with a link, in the function that the goroutine is for.
func TestUnitsOfWork(t *testing.T) {
	eachTree(t, archiveOf(t, "work"), testprog.Options{Flags: []string{"-buildmode=pie"}},
		func(t *testing.T, exe string, _ testprog.Options, _ int) { testUnitsOfWork(t, exe) })
}

func testUnitsOfWork(t *testing.T, exe string) {
	spans, summary, _ := trace(t, instrument.Config{Rules: working}, target.Command{Path: exe})
	if summary.LostSpans() != 0 || summary.Lost.LinksLost != 0 || summary.Lost.ChildrenLost != 0 {
		t.Errorf("lost: %+v", summary)
	}
	all := newForest(spans)
	got := make(map[string]int)
	for _, s := range spans {
		what := literal(s.Function.Name)
		if what == "main.job" {
			what += " of " + s.Args[0].Value.(string)
		}
		got[what+" from "+literal(all.above(s))]++
	}
	want := map[string]int{
		"main.job of main.worker from ⇠ main.worker":                    20,
		"main.job of main.selector from ⇠ main.selector":                20,
		"main.job of literal from ⇠ a literal of main.pools":            20,
		"a literal of main.dispatcher from ⇠ main.dispatcher":           20,
		"main.job of main.dispatcher from a literal of main.dispatcher": 20,
		"main.setup from main.worker":                                   4,
		"main.setup from main.serve":                                    1,
		"main.note from ⇠ main.serve":                                   10,
		"main.handle from ⇠ main.serve":                                 10,
		"main.step from main.handle":                                    10,
		"main.step from main.note":                                      10,
		"main.step from main.job":                                       160,
		"main.merge from main.batch":                                    10,
		"main.step from main.merge":                                     10,
		"main.step from main.long":                                      1000,
		"main.batch from none":                                          1,
		"main.serve from none":                                          1,
	}
	if runtime.GOARCH == "arm64" { // see begins_trace in root.h
		want["main.job of main.worker from ⇠ main.worker"] = 10
		want["main.job of main.worker from main.worker"] = 10
	}
	// Older releases do not mark the function that they make of a go statement.
	if what := "main.handle from a literal of main.serve"; got[what] > 0 {
		delete(want, "main.handle from ⇠ main.serve")
		want[what], want["a literal of main.serve from ⇠ main.serve"] = 10, 10
	}
	for what, n := range want {
		if got[what] != n {
			t.Errorf("%d times %s, want %d", got[what], what, n)
		}
	}
	if t.Failed() {
		for what, n := range got {
			t.Logf("%d times %s", n, what)
		}
	}
}

// A batch that takes half a minute is one trace: nothing goes by the clock.
func TestSlowWork(t *testing.T) {
	exe := testprog.Build(t, archiveOf(t, "work"), testprog.Options{})
	kerneltest.Require(t)
	rules := plan.Rules{Patterns: []string{"main.slow", "main.part", "main.step"}}
	spans, summary, _ := trace(t, instrument.Config{Rules: rules, TraceSpans: 10_000}, target.Command{Path: exe, Args: []string{"-slow=1s"}})
	if summary.LostSpans() != 0 || len(spans) != 1+30+2*30 {
		t.Errorf("%d spans, %+v", len(spans), summary)
	}
	all := newForest(spans)
	got := make(map[string]int)
	for _, s := range spans {
		got[s.Function.Name+" from "+all.above(s)]++
		if s.TraceID != spans[0].TraceID {
			t.Errorf("%s is in a trace of its own", s.Function.Name)
		}
		if s.Function.Name == "main.slow" && s.Duration() < 30*time.Second {
			t.Errorf("the batch took %v alone", s.Duration())
		}
	}
	if want := map[string]int{"main.slow from none": 1, "main.part from main.slow": 30, "main.step from main.part": 60}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// server answers requests of its own, several on each connection, by net/http and then
// by an accept loop of its own.
const server = `
-- go.mod --
module example.com/server

go 1.18
-- main.go --
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

//go:noinline
func look(n int) int { return n + 1 }

//go:noinline
func handle(w http.ResponseWriter, r *http.Request) {
	look(1)
	fmt.Fprintln(w, look(2))
}

func clients(ln net.Listener) {
	defer ln.Close()
	for i := 0; i < 5; i++ {
		client := http.Client{Transport: &http.Transport{}}
		for j := 0; j < 4; j++ {
			answer, err := client.Get("http://" + ln.Addr().String())
			if err != nil {
				panic(err)
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

//go:noinline
func listen(ln net.Listener) {
	server := http.Server{Handler: http.HandlerFunc(handle)}
	server.Serve(ln)
}

//go:noinline
func echo(conn net.Conn) {
	defer conn.Close()
	look(3)
	io.Copy(conn, conn)
}

//go:noinline
func accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go echo(conn)
	}
}

func callers(ln net.Listener) {
	defer ln.Close()
	for i := 0; i < 10; i++ {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			panic(err)
		}
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
}

//go:noinline
func run() {
	for _, serve := range []struct{ clients, server func(net.Listener) }{{clients, listen}, {callers, accept}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		go serve.clients(ln)
		serve.server(ln)
	}
}

func main() {
	run()
	fmt.Println("served")
}
`

// A server makes one trace of each request, from the first one on, although main.main,
// what it calls to listen, and the accept loop, net/http's or its own, are traced and
// open; and where the accept loop is not traced.
func TestServer(t *testing.T) {
	eachBuild(t, server, func(t *testing.T, exe string, options testprog.Options, _ int) {
		for accepting, handled := range map[string]string{
			"":                         "main.handle from none",
			"net/http.(*Server).Serve": "main.handle from ⇠ http.(*Server).Serve",
			"net/http.(*conn).serve":   "main.handle from ⇠ http.(*conn).serve",
		} {
			rules := plan.Rules{Patterns: []string{"/^main[.](main|run|listen|accept|handle|look|echo)$/"}}
			want := map[string]int{
				"main.main from none": 1, "main.run from none": 1, "main.listen from main.run": 1, "main.accept from main.run": 1,
				handled: 20, "main.look from main.handle": 40, "main.echo from ⇠ main.accept": 10, "main.look from main.echo": 10,
			}
			traced := 2 + 20 + 10 // main.main, main.run, requests and connections
			switch accepting {
			case "":
			case "net/http.(*conn).serve":
				rules.Patterns = append(rules.Patterns, accepting)
				want["http.(*conn).serve from none"] = 5
				traced += 5
				if runtime.GOARCH == "arm64" { // see begins_trace in root.h
					delete(want, handled)
					want["main.handle from http.(*conn).serve"] = 20
					traced -= 20
				}
			default:
				rules.Patterns = append(rules.Patterns, accepting)
				want["http.(*Server).Serve from main.listen"] = 1
			}
			spans, summary, _ := trace(t, instrument.Config{Rules: rules, TraceSpans: 10_000}, target.Command{Path: exe})
			if summary.LostSpans() != 0 {
				t.Errorf("lost: %+v", summary)
			}
			all := newForest(spans)
			got := make(map[string]int)
			traces := make(map[span.TraceID]bool)
			for _, s := range spans {
				got[s.Function.Name+" from "+all.above(s)]++
				traces[s.TraceID] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", accepting, diff)
			}
			if len(traces) != traced {
				t.Errorf("%s: %d traces, want %d", accepting, len(traces), traced)
			}
		}
	})
}

// pools have workers that the first submission begins, in functions that are not traced.
const pools = `
-- go.mod --
module example.com/pools

go 1.18
-- library/library.go --
package library

// Begin begins a goroutine that calls f for what comes, until it is told to stop.
//
//go:noinline
func Begin(f func(int), stop chan bool) chan int {
	work := make(chan int)
	go func() {
		for {
			select {
			case n := <-work:
				f(n)
			case <-stop:
				return
			}
		}
	}()
	return work
}
-- main.go --
package main

import (
	"fmt"
	"sync"

	"example.com/pools/library"
)

var all sync.WaitGroup

//go:noinline
func job(by string) { all.Done() }

//go:noinline
func part(of string) {}

type pool struct {
	work  chan int
	alive bool
}

// run is copied to where it begins.
func (p *pool) run() {
	for range p.work {
		job("pool")
	}
}

//go:noinline
func (p *pool) submit(n int) {
	if !p.alive {
		p.alive = true
		go p.run()
	}
	p.work <- n
}

type steady struct{ pool }

//go:noinline
func (s *steady) run() {
	part("steady")
	for range s.work {
		job("steady")
	}
}

//go:noinline
func (s *steady) submit(n int) {
	if !s.alive {
		s.alive = true
		go s.run()
	}
	s.work <- n
}

var other chan int

//go:noinline
func handle(n int) { all.Done() }

//go:noinline
func submit(n int, stop chan bool) {
	if other == nil {
		other = library.Begin(handle, stop)
	}
	other <- n
}

// each begins goroutines that wait for nothing, or once.
//
//go:noinline
func each(values []int) {
	all.Add(2)
	gate := make(chan bool)
	go func() {
		defer all.Done()
		for range values {
			part("values")
		}
	}()
	go func() {
		defer all.Done()
		<-gate
		for range values {
			part("gate")
		}
	}()
	close(gate)
	all.Wait()
}

//go:noinline
func request(n int, p *pool, s *steady, stop chan bool) {
	all.Add(3)
	p.submit(n)
	s.submit(n)
	submit(n, stop)
	all.Wait()
	each([]int{1, 2})
}

func main() {
	p, s := pool{work: make(chan int)}, steady{pool{work: make(chan int)}}
	stop := make(chan bool)
	for i := 0; i < 5; i++ {
		request(i, &p, &s, stop)
	}
	stop <- true
	fmt.Println("done")
}
`

// The workers of a pool do not belong to whoever has begun them, what they do before
// their loop and goroutines that wait for no work do.
func TestPools(t *testing.T) {
	eachBuild(t, pools, func(t *testing.T, exe string, _ testprog.Options, _ int) {
		rules := plan.Rules{Patterns: []string{`/^main\.(job|part|handle|submit|each|request|\(.*submit)$/`}, Values: true}
		spans, summary, _ := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
		if summary.LostSpans() != 0 || summary.Lost.ChildrenLost != 0 {
			t.Errorf("lost: %+v", summary)
		}
		all := newForest(spans)
		got := make(map[string]int)
		for _, s := range spans {
			what := s.Function.Name
			if what == "main.job" || what == "main.part" {
				what += " of " + s.Args[0].Value.(string)
			}
			got[what+" from "+all.above(s)]++
		}
		want := map[string]int{
			"main.request from none":                          5,
			"main.(*pool).submit from main.request":           5,
			"main.(*steady).submit from main.request":         5,
			"main.submit from main.request":                   5,
			"main.each from main.request":                     5,
			"main.job of pool from ⇠ main.(*pool).submit":     5,
			"main.job of steady from ⇠ main.(*steady).submit": 5,
			"main.part of steady from main.(*steady).submit":  1,
			"main.handle from ⇠ main.submit":                  5,
			"main.part of values from main.each":              10,
			"main.part of gate from main.each":                10,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// queues have workers that wait by calling something that waits.
const queues = `
-- go.mod --
module example.com/queues

go 1.18
-- main.go --
package main

import (
	"context"
	"fmt"
	"sync"
)

var all sync.WaitGroup

//go:noinline
func job(by string) {}

//go:noinline
func next(ctx context.Context, work chan int) (int, bool) {
	select {
	case n := <-work:
		return n, true
	case <-ctx.Done():
		return 0, false
	}
}

//go:noinline
func worker(ctx context.Context, work chan int, by string) {
	defer all.Done()
	for {
		if _, ok := next(ctx, work); !ok {
			return
		}
		job(by)
	}
}

type queue struct {
	mu     sync.Mutex
	more   *sync.Cond
	values []int
	closed bool
}

//go:noinline
func (q *queue) pop() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.values) == 0 && !q.closed {
		q.more.Wait()
	}
	if len(q.values) == 0 {
		return false
	}
	q.values = q.values[1:]
	return true
}

//go:noinline
func (q *queue) push(n int, closed bool) {
	q.mu.Lock()
	if q.values = append(q.values, n); closed {
		q.values, q.closed = q.values[:len(q.values)-1], true
	}
	q.mu.Unlock()
	q.more.Signal()
}

//go:noinline
func serve(q *queue) {
	defer all.Done()
	for q.pop() {
		job("serve")
	}
}

// untraced is as worker.
//
//go:noinline
func untraced(ctx context.Context, work chan int) {
	defer all.Done()
	for {
		if _, ok := next(ctx, work); !ok {
			return
		}
		job("untraced")
	}
}

//go:noinline
func begin(ctx context.Context, work chan int, q *queue) {
	all.Add(3)
	go worker(ctx, work, "worker")
	go serve(q)
	go untraced(ctx, work)
}

// fetch waits, too, but as a part of what it does.
//
//go:noinline
func fetch(done chan bool) {
	job("fetch")
	<-done
}

//go:noinline
func each(done chan bool) {
	defer all.Done()
	for i := 0; i < 10; i++ {
		fetch(done)
		job("each")
	}
}

//go:noinline
func batch(done chan bool) {
	all.Add(1)
	go each(done)
	all.Wait()
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	q := new(queue)
	q.more = sync.NewCond(&q.mu)
	work := make(chan int)
	begin(ctx, work, q)
	for i := 0; i < 40; i++ {
		work <- i
		q.push(i, false)
	}
	cancel()
	q.push(0, true)
	all.Wait()
	done := make(chan bool)
	close(done)
	batch(done)
	fmt.Println("done")
}
`

// A loop that calls what does nothing but wait waits for work; one that calls what does
// its work, and waits for that, does not.
func TestQueues(t *testing.T) {
	eachBuild(t, queues, func(t *testing.T, exe string, _ testprog.Options, _ int) {
		rules := plan.Rules{Patterns: []string{`/^main\.(job|next|worker|\(.*pop|serve|begin|fetch|each|batch)$/`}, Values: true}
		spans, summary, _ := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
		if summary.LostSpans() != 0 || summary.Lost.ChildrenLost != 0 {
			t.Errorf("lost: %+v", summary)
		}
		all := newForest(spans)
		got := make(map[string]int)
		workers := 0
		for _, s := range spans {
			what := s.Function.Name
			if what == "main.job" {
				what += " of " + s.Args[0].Value.(string)
			}
			what += " from " + all.above(s)
			switch what {
			case "main.job of worker from ⇠ main.worker", "main.job of untraced from ⇠ main.begin":
				workers++ // which of the two has more is chance
			case "main.next from main.worker", "main.next from main.begin":
			default:
				got[what]++
			}
		}
		want := map[string]int{
			"main.begin from none":                1,
			"main.worker from main.begin":         1,
			"main.serve from main.begin":          1,
			"main.(*queue).pop from main.serve":   41,
			"main.job of serve from ⇠ main.serve": 40,
			"main.batch from none":                1,
			"main.each from main.batch":           1,
			"main.fetch from main.each":           10,
			"main.job of fetch from main.fetch":   10,
			"main.job of each from main.each":     10,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if workers != 40 {
			t.Errorf("%d jobs of the workers are roots", workers)
		}
	})
}

// multiplexed answers requests over one connection of HTTP/2.
const multiplexed = `
-- go.mod --
module example.com/multiplexed

go 1.18
-- main.go --
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
)

//go:noinline
func look(n int) int { return n + 1 }

//go:noinline
func handle(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, look(1)) }

func main() {
	server := httptest.NewUnstartedServer(http.HandlerFunc(handle))
	server.EnableHTTP2 = true
	server.StartTLS()
	client := server.Client()
	for i := 0; i < 10; i++ {
		answer, err := client.Get(server.URL)
		if err != nil || answer.ProtoMajor != 2 {
			panic(fmt.Sprint(err, answer))
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	fmt.Println("served")
}
`

// Each request of HTTP/2 is a trace, whatever of the server is traced.
func TestMultiplexed(t *testing.T) {
	eachBuild(t, multiplexed, func(t *testing.T, exe string, _ testprog.Options, _ int) {
		for _, of := range []string{`net/http.(*conn).serve`, `/^net.http.[(].(conn|http2serverConn)[)]/`} {
			rules := plan.Rules{Patterns: []string{"main.handle", "main.look", of}}
			spans, summary, _ := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
			if summary.LostSpans() != 0 {
				t.Errorf("lost: %+v", summary)
			}
			traces := make(map[span.TraceID]int)
			connections := make(map[span.TraceID]bool)
			for _, s := range spans {
				switch s.Function.Name {
				case "main.handle", "main.look":
					traces[s.TraceID]++
				case "http.(*conn).serve":
					connections[s.TraceID] = true
				}
			}
			for id, n := range traces {
				if n != 2 || connections[id] {
					t.Errorf("%s: trace %x has %d calls of a request, or is of a connection", of, id, n)
				}
			}
			if len(traces) != 10 || len(connections) == 0 {
				t.Errorf("%s: %d traces of 10 requests, %d connections", of, len(traces), len(connections))
			}
		}
	})
}

// literal names a function literal by the function that it is in: how they are
// numbered differs between releases.
func literal(name string) string {
	if before, _, found := strings.Cut(name, ".func"); found {
		arrow, in, _ := strings.Cut(before, "main.")
		return arrow + "a literal of main." + in
	}
	return name
}

// --root begins traces, and a trace is bounded.
func TestRoots(t *testing.T) {
	exe := testprog.Build(t, archiveOf(t, "work"), testprog.Options{})
	kerneltest.Require(t)
	rules := working
	rules.Roots = []string{"main.merge"}
	spans, summary, _ := trace(t, instrument.Config{Rules: rules, TraceSpans: 100}, target.Command{Path: exe})
	if summary.LostSpans() != 0 {
		t.Errorf("lost: %+v", summary)
	}
	all := newForest(spans)
	traces := make(map[span.TraceID]int)
	got := make(map[string]int)
	for _, s := range spans {
		traces[s.TraceID]++
		got[s.Function.Name+" from "+all.above(s)]++
	}
	for id, n := range traces {
		if n > 110 {
			t.Errorf("trace %x has %d spans", id, n)
		}
	}
	if got["main.merge from ⇠ main.batch"] != 10 || got["main.step from main.merge"] != 10 {
		t.Errorf("merge is no root: %v", got)
	}
	in, out := got["main.step from main.long"], got["main.step from ⇠ main.long"]
	if in+out != 1000 || in < 80 || in > 110 {
		t.Errorf("%d steps are in the trace of long, %d in further ones", in, out)
	}
}

// large makes traces larger than they may be, of 1,001 spans each.
const large = `
-- go.mod --
module example.com/large

go 1.18
-- main.go --
package main

import (
	"fmt"
	"sync"
)

//go:noinline
func step(n int) {}

//go:noinline
func two(n int) { step(n) }

//go:noinline
func wide(n int) {
	for i := 0; i < n; i++ {
		step(i)
	}
}

//go:noinline
func pairs(n int) {
	for i := 0; i < n; i++ {
		two(i)
	}
}

//go:noinline
func deep(n int) {
	if n > 0 {
		deep(n - 1)
	}
}

//go:noinline
func spread(n int) {
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 24; j++ {
				step(j)
			}
		}()
	}
	all.Wait()
}

func main() {
	wide(1000)
	pairs(500)
	deep(1000)
	spread(41)
	fmt.Println("done")
}
`

// A trace that is full goes on in another, linked one, until that is full, too,
// however the calls are nested, and on however many goroutines.
func TestLongTraces(t *testing.T) {
	exe := testprog.Build(t, large, testprog.Options{})
	kerneltest.Require(t)
	rules := plan.Rules{Patterns: []string{`/^main\.(step|two|wide|pairs|deep|spread)$/`}}
	const most = 100
	spans, summary, _ := trace(t, instrument.Config{Rules: rules, TraceSpans: most}, target.Command{Path: exe})
	if summary.LostSpans() != 0 || len(spans) != 3*1001+1+41*24 {
		t.Errorf("%d spans, lost: %+v", len(spans), summary)
	}
	all := newForest(spans)
	// outermost is the call that a span comes from first, through parents and links.
	outermost := func(s *span.Span) (top *span.Span) {
		for top = s; ; {
			switch {
			case top.Link != nil:
				top = all[top.Link.ID]
			case top.Parent != span.ID{}:
				top = all[top.Parent]
			default:
				return top
			}
			if top == nil {
				t.Fatalf("what %s comes from is not there", s.Function.Name)
			}
		}
	}
	sizes := make(map[string]map[span.TraceID]int)
	unknown := 0 // those of goroutines whose `go` statement was preempted
	for _, s := range spans {
		if all.above(s) == "broken" {
			t.Fatalf("%s has a parent in another trace, or a link into its own", s.Function.Name)
		}
		top := outermost(s)
		if top.Function.Name == "main.step" && parentUnknown(top) {
			unknown++
			continue
		}
		if sizes[top.Function.Name] == nil {
			sizes[top.Function.Name] = make(map[span.TraceID]int)
		}
		sizes[top.Function.Name][s.TraceID]++
	}
	t.Logf("%d spans have an unknown parent", unknown)
	if unknown > 41*24/20 {
		t.Errorf("%d of the spans of goroutines have an unknown parent", unknown)
	}
	for top, want := range map[string]int{"main.wide": 1001, "main.pairs": 1001, "main.deep": 1001, "main.spread": 1 + 41*24 - unknown} {
		traces, sum := sizes[top], 0
		for id, n := range traces {
			if n > most+most/10 {
				t.Errorf("%s: trace %x has %d spans", top, id, n)
			}
			sum += n
		}
		if sum != want || len(traces) < 10 && unknown == 0 || len(traces) > 11 {
			t.Errorf("%s: %d spans, not %d, in %d traces: %v", top, sum, want, len(traces), slices.Collect(maps.Values(traces)))
		}
	}
	if len(sizes) != 4 {
		t.Errorf("the outermost calls: %v", slices.Collect(maps.Keys(sizes)))
	}
}
