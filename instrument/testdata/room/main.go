// Command room passes more than there is room for in an event, values of size zero,
// keys of all kinds, and maps of large elements.
package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

var sink int

//go:noinline
func use(values ...any) { sink += len(values) }

// A login has its number in all of its fields.
type login struct {
	User  string
	Token string
	Tries int
	OK    bool
}

// A pin has its secret behind all else.
type pin struct {
	Owner string
	Token [8]byte
}

type pair struct{ A, B int }

type named struct{ Name string }

type large struct {
	Name  string
	Place [13]int
}

type huge struct {
	Name  string
	Place [20]int
}

func text(n int) string { return fmt.Sprintf("text %d %s", n, strings.Repeat("x", 110)) }

//go:noinline
func lists(s []string, m map[string]string, k map[string]int, l []login) { use(s, m, k, l) }

//go:noinline
func logins(l []login, p map[string]*login) { use(l, p) }

//go:noinline
func nested(mm map[string]map[string]int) { use(mm) }

//go:noinline
func pins(o []pin, q map[string]pin, z map[int]pin) { use(o, q, z) }

//go:noinline
func save(lines, more []string) error { use(lines, more); return errors.New("disk full") }

//go:noinline
func load(m map[string]string) ([]string, map[string]string, error) {
	use(m)
	lines := make([]string, 16)
	for i := range lines {
		lines[i] = text(i)
	}
	return lines, m, errors.New("disk full")
}

//go:noinline
func join(n int, err error) error { use(n, err); return err }

type token string

//go:noinline
func secretKeys(a map[any]any, n map[token]string, p map[[1]string]string, b map[[8]byte]string, s map[named]string, i map[fmt.Stringer]string, f map[float64]string) {
	use(a, n, p, b, s, i, f)
}

func (n named) String() string { return n.Name }

//go:noinline
func alike(p map[pair]string, f map[float64]int, a map[any]int, n map[*int]int, t map[time.Time]int, l map[[2]string]int) {
	use(p, f, a, n, t, l)
}

//go:noinline
func zero(m map[string]struct{}, n map[int]struct{}, s []struct{}, a [3]struct{}, p *struct{}, i any, e struct{}, none []struct{}, last map[string]struct{}) {
	use(m, n, s, a, p, i, e, none, last)
}

//go:noinline
func inSlots(l map[string]large) { use(l) }

//go:noinline
func behindPointers(few map[int]huge, l map[string]huge) { use(few, l) }

//go:noinline
func byNumbers(keys map[[130]byte]int, names map[[64]byte]string, l map[int]large) {
	use(keys, names, l)
}

// holes takes more steps to be read than anything else of its size: between any two of
// its numbers is a secret.
type holes struct {
	A, TokenA, B, TokenB, C, TokenC, D, TokenD, E, TokenE, F, TokenF, G, TokenG, H, TokenH int8
	I, TokenI, J, TokenJ, K, TokenK, L, TokenL, M, TokenM, N, TokenN, O, TokenO, P, TokenP int8
}

//go:noinline
func steps(a, b []holes) { use(a, b) }

func main() {
	h := make([]holes, 32)
	for i := range h {
		h[i] = holes{A: 1, B: 1, C: 1, D: 1, E: 1, F: 1, G: 1, H: 1, I: 1, J: 1, K: 1, L: 1, M: 1, N: 1, O: 1, P: 1}
	}
	steps(h, h)
	s := make([]string, 16)
	l := make([]login, 16)
	m, k, p := make(map[string]string), make(map[string]int), make(map[string]*login)
	mm := make(map[string]map[string]int)
	o, q, z := make([]pin, 16), make(map[string]pin), make(map[int]pin)
	for i := range s {
		key := fmt.Sprint("k", i)
		s[i] = text(i)
		l[i] = login{text(i), "secret", 100 + i, true}
		m[key], k[key], p[key] = text(i), i+1, &l[i]
		mm[key] = make(map[string]int)
		for j := 0; j < 8; j++ {
			mm[key][fmt.Sprint("k", j)] = 10*i + j + 1
		}
		o[i] = pin{text(i), [8]byte{'s', 'e', 'c', 'r', 'e', 't'}}
		q[key], z[i] = o[i], o[i]
	}
	lists(s, m, k, l)
	logins(l, p)
	nested(mm)
	pins(o, q, z)
	sink += len(save(s, s).Error())
	_, _, err := load(m)
	sink += len(err.Error())
	var many []error
	for i := 0; i < 20; i++ {
		many = append(many, fmt.Errorf("error %d", i))
	}
	sink += len(join(20, fmt.Errorf("many: %w", errors.New(text(0)))).Error())
	sink += len(join(20, errors.Join(many...)).Error())

	secretKeys(
		map[any]any{"password": "HIDE", named{"token"}: "HIDE", [8]byte{'j', 'w', 't'}: "HIDE", [1]string{"secret"}: "HIDE", "user": "eve", 3: "x"},
		map[token]string{"a": "b", "apiKey": "HIDE"},
		map[[1]string]string{{"password"}: "HIDE", {"user"}: "eve"},
		map[[8]byte]string{{'p', 'w', 'd'}: "HIDE", {'u', 's', 'e', 'r', '1', '2', '3', '4'}: "eve"},
		map[named]string{{"password"}: "HIDE", {"user"}: "eve"},
		map[fmt.Stringer]string{named{"password"}: "HIDE", named{"user"}: "eve", time.Second: "s"},
		map[float64]string{0.5: "half"},
	)
	one, two := 1, 2
	here := time.Unix(1, 0)
	alike(
		map[pair]string{{1, 2}: "x", {3, 4}: "y"},
		map[float64]int{math.NaN(): 1, math.NaN(): 1, math.Inf(1): 2},
		map[any]int{"s": 1, 3: 4, pair{1, 2}: 5, 1.5: 6, nil: 7},
		map[*int]int{&one: 1, &two: 2, nil: 3},
		map[time.Time]int{here.UTC(): 1, here.In(time.FixedZone("x", 3600)): 1},
		map[[2]string]int{{"a b", "c"}: 1, {"a", "b c"}: 2},
	)
	zero(map[string]struct{}{"a": {}, "b": {}}, map[int]struct{}{1: {}}, make([]struct{}, 3), [3]struct{}{}, &struct{}{}, struct{}{}, struct{}{}, nil, map[string]struct{}{"password": {}})

	big, huger, numbers := make(map[string]large), make(map[string]huge), make(map[int]large)
	for i := 0; i < 30; i++ {
		key := fmt.Sprint("k", i)
		big[key], huger[key], numbers[i] = large{Name: "n"}, huge{Name: "n"}, large{Name: "n"}
	}
	inSlots(big)
	behindPointers(map[int]huge{7: {Name: "seven"}}, huger)
	var name [64]byte
	copy(name[:], strings.Repeat("a", len(name)))
	byNumbers(map[[130]byte]int{{}: 1}, map[[64]byte]string{name: "x"}, numbers)
}
