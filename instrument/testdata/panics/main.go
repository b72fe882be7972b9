// Command panics knows how each of its traced calls ends. Every traced function
// has the arguments (id, parent), its own number and that of the call that it
// belongs to. It prints a line of JSON: a fate for each call. It is written in
// the Go of 1.18, which builds it, too.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
)

// A fate is how a call ends. A call that a panic unwinds has the value's type and
// message, where a tracer can know it. Before is a call that begins when this
// one has ended.
type fate struct {
	ID, Parent    int64
	End           string
	Type, Message string
	Before        int64
}

var fates struct {
	sync.Mutex
	all []*fate
}

func born(parent int64) *fate {
	fates.Lock()
	defer fates.Unlock()
	f := &fate{ID: int64(len(fates.all) + 1), Parent: parent, End: "return"}
	fates.all = append(fates.all, f)
	return f
}

// dies says that a panic with a value unwinds the call.
func (f *fate) dies(value interface{}) {
	f.End, f.Type = "panic", fmt.Sprintf("%T", value)
	switch v := value.(type) {
	case nil:
		f.Type, f.Message = "nil", "nil"
	case runtime.Error:
		f.Message = v.Error()
	case string:
		f.Message = v
	case bool, int, int8, uint16, uint64, float64:
		f.Message = fmt.Sprint(v)
	case number:
		f.Message = fmt.Sprintf("main.number(%d)", int(v))
	case word:
		f.Message = fmt.Sprintf("main.word(%q)", string(v))
	default:
		switch f.Type {
		case "*errors.errorString", "*fmt.wrapError":
			f.Message = value.(error).Error()
		}
	}
}

type number int

type word string

type custom struct{ code int }

func (c *custom) Error() string { return fmt.Sprint("code ", c.code) }

//go:noinline
func frame(id, parent int64, body func()) { body() }

//go:noinline
func guard(id, parent int64, body, deferred func()) {
	defer deferred()
	body()
}

// guards has two deferred functions; second is called first.
//
//go:noinline
func guards(id, parent int64, body, first, second func()) {
	defer first()
	defer second()
	body()
}

// pair are a call and the one that makes it.
func pair() (g, top *fate) {
	top = born(0)
	return born(top.ID), top
}

// within has body run in g, deferred when that ends, and recovers in top from what
// passes through g.
func within(top, g *fate, body, deferred func(), recovered func(value interface{})) {
	guard(top.ID, 0, func() { guard(g.ID, top.ID, body, deferred) }, func() { recovered(recover()) })
}

// call makes a traced call that returns.
func call(parent int64, body func(f *fate)) *fate {
	f := born(parent)
	frame(f.ID, parent, func() { body(f) })
	return f
}

func nothing(*fate) {}

// ended says which calls have ended by now, by making the next one.
func ended(parent int64, all ...*fate) {
	next := call(parent, nothing)
	for _, f := range all {
		f.Before = next.ID
	}
}

// simple lets a panic unwind two calls; the third recovers. A deferred function
// that runs meanwhile calls below the call that panics.
func simple(panics func()) {
	var outer, inner *fate
	g := born(0)
	guard(g.ID, 0, func() {
		outer = born(g.ID)
		frame(outer.ID, g.ID, func() {
			inner = born(outer.ID)
			frame(inner.ID, outer.ID, panics)
		})
	}, func() {
		value := recover()
		outer.dies(value)
		inner.dies(value)
		call(inner.ID, nothing)
	})
	ended(0, outer, inner, g)
}

// untraced recovers where nothing is traced.
func untraced() {
	var f *fate
	top := call(0, func(top *fate) {
		func() {
			defer func() { f.dies(recover()) }()
			f = born(top.ID)
			frame(f.ID, top.ID, func() { panic("untraced") })
		}()
		ended(top.ID, f)
	})
	ended(0, top)
}

// again recovers and panics with another value, which passes one more call.
func again() {
	var f, h *fate
	g, top := pair()
	within(top, g, func() {
		f = born(g.ID)
		frame(f.ID, g.ID, func() { panic("first") })
	}, func() {
		f.dies(recover())
		// A call that the second panic unwinds, within the first.
		h = born(f.ID)
		frame(h.ID, f.ID, func() { panic(fmt.Errorf("second: %w", io.EOF)) })
	}, func(value interface{}) {
		h.dies(value)
		g.dies(value)
	})
	ended(0, f, g, h, top)
}

// onward panics again with the value that it has recovered, as many programs do that
// only look at it.
func onward() {
	var f *fate
	g, top := pair()
	within(top, g, func() {
		f = born(g.ID)
		frame(f.ID, g.ID, func() { panic("onward") })
	}, func() {
		value := recover()
		f.dies(value)
		panic(value)
	}, g.dies)
	ended(0, f, g, top)
}

// deferred panics in a deferred function of a call that has come to its end.
func deferred() {
	var h *fate
	g, top := pair()
	within(top, g, func() { call(g.ID, nothing) }, func() {
		h = born(g.ID)
		frame(h.ID, g.ID, func() { panic("deferred") })
	}, func(value interface{}) {
		h.dies(value)
		g.dies(value)
	})
	ended(0, h, g, top)
}

// helpless recovers where that has no effect: in a deferred function of a deferred
// function, and in what that calls. The panic goes on.
func helpless() {
	var f *fate
	g, top := pair()
	within(top, g, func() {
		f = born(g.ID)
		frame(f.ID, g.ID, func() { panic("helpless") })
	}, func() {
		inner := born(f.ID)
		guard(inner.ID, f.ID, func() { recovers(inner.ID) }, func() { recovers(inner.ID) })
	}, func(value interface{}) {
		f.dies(value)
		g.dies(value)
	})
	ended(0, f, g, top)
}

//go:noinline
func recovers(parent int64) {
	if recover() != nil {
		panic("it was recovered")
	}
	call(parent, nothing)
}

// during panics while it panics; the value of the first is never recovered.
func during() {
	var f, h *fate
	g := born(0)
	guards(g.ID, 0, func() {
		f = born(g.ID)
		frame(f.ID, g.ID, func() { panic("first") })
	}, func() {
		h.dies(recover())
		f.dies("first")
	}, func() {
		h = born(f.ID)
		frame(h.ID, f.ID, func() { panic("second") })
	})
	ended(0, f, g, h)
}

// nested recovers a second panic within a deferred function of the first, which
// goes on.
func nested() {
	var f *fate
	g, top := pair()
	within(top, g, func() {
		f = born(g.ID)
		frame(f.ID, g.ID, func() { panic("first") })
	}, func() {
		inner := born(f.ID)
		var h *fate
		guard(inner.ID, f.ID, func() {
			h = born(inner.ID)
			frame(h.ID, inner.ID, func() { panic("second") })
		}, func() { h.dies(recover()) })
		ended(f.ID, h, inner)
	}, func(value interface{}) {
		f.dies(value)
		g.dies(value)
	})
	ended(0, f, g, top)
}

// grows lets the stack grow, and be copied, while a panic is under way.
func grows() {
	var f *fate
	g := born(0)
	guard(g.ID, 0, func() {
		f = born(g.ID)
		frame(f.ID, g.ID, func() { panic("growing") })
	}, func() {
		deep(200)
		runtime.GC()
		call(f.ID, nothing)
		f.dies(recover())
	})
	ended(0, f, g)
}

//go:noinline
func deep(n int) byte {
	var room [1024]byte
	if n > 0 {
		room[n] = deep(n - 1)
	}
	return room[n]
}

// alone runs a function in a goroutine of its own and waits until that is gone: when
// its deferred functions have run, runtime.Goexit is not over yet.
func alone(body func()) {
	before := runtime.NumGoroutine()
	done := make(chan struct{})
	go func() {
		defer close(done)
		body()
	}()
	<-done
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
}

// leaves ends a goroutine below two calls, the outer of them with a deferred one.
func leaves() {
	alone(func() {
		g := born(0)
		guard(g.ID, 0, func() {
			f := born(g.ID)
			f.End, g.End = "goexit", "goexit"
			frame(f.ID, g.ID, func() { call(f.ID, nothing); runtime.Goexit() })
		}, func() { call(g.ID+1, nothing) })
	})
	alone(func() {
		f := born(0)
		f.End = "goexit"
		frame(f.ID, 0, runtime.Goexit)
	})
	ended(0)
}

// leavesPanicking ends a goroutine while it panics: what the panic has unwound by
// then was unwound by it.
func leavesPanicking(before122 bool) {
	var f, g, top, h *fate
	alone(func() {
		top = born(0)
		g = born(top.ID)
		frame(top.ID, 0, func() {
			guard(g.ID, top.ID, func() {
				f = born(g.ID)
				frame(f.ID, g.ID, func() { panic("first") })
			}, func() {
				h = born(f.ID)
				frame(h.ID, f.ID, runtime.Goexit)
			})
		})
	})
	f.dies("first")
	h.End, g.End, top.End = "goexit", "goexit", "goexit"
	if before122 {
		g.dies("first")
		top.dies("first")
	}
}

// panicsLeaving panics while the goroutine ends, and recovers: it ends all the same.
func panicsLeaving() {
	var f, g, h *fate
	alone(func() {
		g = born(0)
		guards(g.ID, 0, func() {
			f = born(g.ID)
			frame(f.ID, g.ID, runtime.Goexit)
		}, func() { h.dies(recover()) }, func() {
			h = born(f.ID)
			frame(h.ID, f.ID, func() { panic("leaving") })
		})
	})
	f.End, g.End = "goexit", "goexit"
}

// many panics at full speed.
func many(n int) {
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < n/4; j++ {
				guard(1, 0, func() { frame(2, 1, func() { panic("one of many") }) }, func() { recover() })
				frame(3, 0, func() {})
			}
		}()
	}
	all.Wait()
}

func main() {
	before122 := flag.Bool("before-1.22", false, "panics do not say how far they have come")
	million := flag.Int("many", 0, "panic so often, and nothing else")
	die := flag.Bool("die", false, "die of a panic")
	elsewhere := flag.Bool("elsewhere", false, "die of one in another goroutine than the first")
	fail := flag.Bool("fail", false, "fail as a test")
	flag.Parse()
	if *million > 0 {
		many(*million)
		fmt.Println("[]")
		os.Stdin.Read(make([]byte, 1)) // until it is closed
		return
	}
	if *fail {
		failNow()
	}
	scenarios(*before122)
	for _, more := range newer {
		more()
	}
	if *die {
		alone(func() {})
		var waiting sync.WaitGroup
		waiting.Add(1)
		other := born(0)
		other.End = "process exit"
		go frame(other.ID, 0, func() { waiting.Done(); select {} })
		waiting.Wait()
		if *elsewhere {
			first := born(0)
			first.End = "process exit"
			frame(first.ID, 0, func() { go dies(); select {} })
		}
		dies()
	}
	json.NewEncoder(os.Stdout).Encode(fates.all)
}

// dies panics, and nothing recovers.
func dies() {
	top := born(0)
	g := born(top.ID)
	f := born(g.ID)
	frame(top.ID, 0, func() {
		guard(g.ID, top.ID, func() { frame(f.ID, g.ID, func() { panic("the end") }) }, func() {
			for _, one := range []*fate{top, g, f} {
				one.dies("the end")
			}
			call(f.ID, nothing)
			json.NewEncoder(os.Stdout).Encode(fates.all)
		})
	})
}

// newer are scenarios of newer releases.
var newer []func()

func scenarios(before122 bool) {
	var none *custom
	var list []int
	var table map[string]int
	var any interface{}
	var failure error
	zero, one, minus, long := 0, 1, -1, uint(1<<63+1)
	for _, panics := range []func(){
		func() { panic("a message") },
		func() { panic("") },
		func() { panic(string(make([]byte, 300))) },
		func() { panic(fmt.Sprint("made ", zero)) },
		func() { panic(errors.New("an error")) },
		func() { panic(fmt.Errorf("wrapped: %w", io.EOF)) },
		func() { panic(&custom{one}) },
		func() { panic(custom{one}) },
		func() { panic(none) },
		func() { panic(one) },
		func() { panic(int8(minus)) },
		func() { panic(uint16(65535)) },
		func() { panic(uint64(1 << 63)) },
		func() { panic(1.5) },
		func() { panic(true) },
		func() { panic(number(7)) },
		func() { panic(word("seven")) },
		func() { panic(any) },
		func() { none.code = 1 },
		func() { list[one] = 1 },
		func() { list = make([]int, 3); _ = list[minus] },
		func() { _ = list[long] },
		func() { _ = list[one+3:] },
		func() { _ = list[:one+3] },
		func() { _ = list[one+1 : one] },
		func() { _ = list[one : one+1 : one+7] },
		func() { _ = "text"[one+4:] },
		func() { _ = (*[4]int)(list) },
		func() { zero = one / zero },
		func() { table["x"] = 1 },
		func() { _ = any.(int) },
		func() { any = one; _ = any.(string) },
		func() { _ = any.(fmt.Stringer) },
		func() { _ = failure.(*custom) },
		func() { close((chan int)(nil)) },
		func() { _ = make([]int, minus) },
	} {
		simple(panics)
	}
	untraced()
	if !before122 {
		again()
		during()
	}
	onward()
	deferred()
	helpless()
	nested()
	grows()
	leaves()
	leavesPanicking(before122)
	panicsLeaving()
}
