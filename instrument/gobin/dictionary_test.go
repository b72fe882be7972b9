package gobin

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/testprog"
)

const dictionaryProgram = `
-- go.mod --
module example.com/dict

go 1.18
-- main.go --
package main

import "time"

type item struct{ n int }

type list[T any] struct{ head T }

//go:noinline
func pair[K comparable, V any](k K, n int, all []V, p *V) (V, K) { sink(k, n, all); return *p, k }

//go:noinline
func (l *list[T]) push(v T) *list[T] { l.head = v; sink(v); return l }

//go:noinline
func (l list[T]) get() T { sink(l); return l.head }

//go:noinline
func sink(...interface{}) {}

func main() {
	var i *item
	pair("a", 1, []*item{}, &i)
	pair("a", 1, []*int{}, new(*int))
	pair(time.Second, 1, []int{}, new(int))
	sink((&list[*item]{}).push(nil).get(), (&list[time.Duration]{}).push(1).get())
}
`

// relocated are builds whose data of types the linker, the loader, or both have to
// relocate, with each release.
func relocated() (all []testprog.Options) {
	for _, version := range testprog.Versions() {
		all = append(all,
			testprog.Options{GoVersion: version},
			testprog.Options{GoVersion: version, Flags: []string{"-buildmode=pie"}},
			testprog.Options{GoVersion: version, Flags: []string{"-buildmode=pie", "-ldflags=-linkmode=external"}, Cgo: true})
	}
	return all
}

// The words of dictionaries that parameters say their types are in are the types
// that the program was written with.
func TestDictionaries(t *testing.T) {
	want := map[string][]string{
		"main.pair": {
			"string 0 []*main.item **main.item *main.item string",
			"string 0 []*int **int *int string",
			"time.Duration 0 []int *int int time.Duration",
		},
		"main.(*list).push": {"*main.list[*main.item] *main.item *main.list[*main.item]", "*main.list[time.Duration] time.Duration *main.list[time.Duration]"},
		"main.list.get":     {"main.list[*main.item] *main.item", "main.list[time.Duration] time.Duration"},
	}
	for _, options := range relocated() {
		t.Run(options.String(), func(t *testing.T) {
			f := open(t, testprog.Build(t, dictionaryProgram, options))
			got := map[string][]string{}
			for i := range f.funcs {
				fn := &f.funcs[i]
				name := withoutTypeArguments(fn.Symbol)
				if fn.Wrapper || want[name] == nil {
					continue
				}
				sig, err := f.Signature(fn)
				if err != nil {
					t.Fatal(err)
				}
				of := map[string]bool{}
				for _, name := range DictionaryNames(fn) {
					of[name] = true
				}
				dictionaries, err := f.Dictionaries(of)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range dictionaries {
					if !strings.HasSuffix(d.Of, name[strings.LastIndexByte(name, '.'):]) && !strings.Contains(name, "list") {
						t.Errorf("a dictionary of %s for %s", d.Of, name)
					}
					var types []string
					for _, p := range append(slices.Clone(sig.Params), sig.Results...) {
						typ := "0"
						if p.DictionaryWord > len(d.Words) {
							t.Fatalf("%s: word %d of %d", d.Of, p.DictionaryWord, len(d.Words))
						}
						if p.DictionaryWord > 0 {
							if typ, err = f.TypeName(d.Words[p.DictionaryWord-1]); err != nil {
								typ = err.Error()
							}
						}
						types = append(types, typ)
					}
					if line := strings.Join(types, " "); !slices.Contains(got[name], line) {
						got[name] = append(got[name], line)
					}
				}
			}
			for _, lines := range []map[string][]string{want, got} {
				for name := range lines {
					slices.Sort(lines[name])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
