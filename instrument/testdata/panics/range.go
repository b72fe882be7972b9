//go:build go1.23

package main

import "runtime"

func init() { newer = append(newer, rangeOver) }

//go:noinline
func sequence(id, parent int64, yield func(int) bool) {
	for i := 0; yield(i); i++ {
	}
}

// rangeOver leaves loops over functions early, and by a panic.
func rangeOver() {
	f := born(0)
	for i := range func(yield func(int) bool) { sequence(f.ID, 0, yield) } {
		call(f.ID, nothing)
		if i == 3 {
			break
		}
	}
	ended(0, f)

	leave := func() *fate {
		f := born(0)
		for range func(yield func(int) bool) { sequence(f.ID, 0, yield) } {
			defer call(0, nothing)
			return f
		}
		return nil
	}
	ended(0, leave())

	// An outer loop is left from within an inner one.
	outer, inner := born(0), []*fate(nil)
both:
	for range func(yield func(int) bool) { sequence(outer.ID, 0, yield) } {
		in := born(outer.ID)
		inner = append(inner, in)
		for i := range func(yield func(int) bool) { sequence(in.ID, outer.ID, yield) } {
			call(in.ID, nothing)
			switch {
			case len(inner) == 2:
				break both
			case i == 1:
				continue both
			}
		}
	}
	ended(0, append(inner, outer)...)

	alone(func() {
		f := born(0)
		f.End = "goexit"
		for range func(yield func(int) bool) { sequence(f.ID, 0, yield) } {
			runtime.Goexit()
		}
	})

	g := born(0)
	var unwound *fate
	guard(g.ID, 0, func() {
		unwound = born(g.ID)
		for i := range func(yield func(int) bool) { sequence(unwound.ID, g.ID, yield) } {
			if i == 2 {
				panic("in a loop")
			}
		}
	}, func() { unwound.dies(recover()) })
	ended(0, unwound, g)
}
