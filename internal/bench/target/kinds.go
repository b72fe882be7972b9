package main

import "time"

// What the functions of kinds.go get: one value of each kind, which does not
// change.
type (
	item struct {
		Name string
		N    int
		OK   bool
	}
	branch struct {
		Item item
		Next *branch
		Tags []string
	}
)

var (
	theItem        = item{"a string of some length", 5, true}
	theBytes       = make([]byte, 100)
	theInts        = make([]int, 16)
	theStrings     = []string{"one", "two", "three", "four", "five", "six", "seven", "eight"}
	theMap         = map[string]int{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
	theTime        = time.Date(2024, 2, 29, 12, 30, 45, 0, time.UTC)
	theTree        = &branch{theItem, &branch{theItem, &branch{Item: theItem}, theStrings[:2]}, theStrings[:2]}
	theAny     any = 1000
)

// calls are the functions that can be traced, by name: each calls its own batch
// times.
var calls = map[string]func(){
	"main.begin":      begin,
	"main.beginOther": beginOther,
	"main.work": func() {
		for i := range batch {
			if n, err := work(i, "a string of some length"); n < i || err == nil {
				panic("work does something else")
			}
		}
	},
	"main.ofInt":       func() { repeat(ofInt, 1000) },
	"main.ofString":    func() { repeat(ofString, "a string of some length") },
	"main.ofBytes":     func() { repeat(ofBytes, theBytes) },
	"main.ofInts":      func() { repeat(ofInts, theInts) },
	"main.ofStrings":   func() { repeat(ofStrings, theStrings) },
	"main.ofStruct":    func() { repeat(ofStruct, theItem) },
	"main.ofPointer":   func() { repeat(ofPointer, &theItem) },
	"main.ofMap":       func() { repeat(ofMap, theMap) },
	"main.ofInterface": func() { repeat(ofInterface, theAny) },
	"main.ofError":     func() { repeat(ofError, errWork) },
	"main.ofTime":      func() { repeat(ofTime, theTime) },
	"main.ofDeep":      func() { repeat(ofDeep, theTree) },
}

func repeat[T any](f func(T), v T) {
	for range batch {
		f(v)
	}
}

//go:noinline
func ofInt(v int) { check(v) }

//go:noinline
func ofString(v string) { check(len(v)) }

//go:noinline
func ofBytes(v []byte) { check(len(v)) }

//go:noinline
func ofInts(v []int) { check(len(v)) }

//go:noinline
func ofStrings(v []string) { check(len(v)) }

//go:noinline
func ofStruct(v item) { check(v.N) }

//go:noinline
func ofPointer(v *item) { check(v.N) }

//go:noinline
func ofMap(v map[string]int) { check(len(v)) }

//go:noinline
func ofInterface(v any) { check(v.(int)) }

//go:noinline
func ofError(v error) { check(len(v.Error())) }

//go:noinline
func ofTime(v time.Time) { check(v.Nanosecond()) }

//go:noinline
func ofDeep(v *branch) { check(v.Item.N) }

// check is what they call, so that they have a frame.
//
//go:noinline
func check(n int) {
	if n < 0 {
		panic("a value is another one")
	}
}
