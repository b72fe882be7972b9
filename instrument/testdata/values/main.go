// Values calls functions with values of every shape that uspan knows, one
// function a shape. What it passes is constant, so that a test can know it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

type (
	myInt    int16
	myString string
	secret   string
	point    struct{ X, Y int32 }
	item     struct {
		Name  string
		Price float64
		count int
	}
	base struct {
		ID      int
		created time.Time
	}
	user struct {
		base
		Name    string
		Email   *string
		Tags    []string
		Manager *user
		Home    point
		Limits  map[string]int
		Extra   interface{}
		Pass    string
		Token   string
		Wait    time.Duration
		next    *user
		active  bool
		score   float32
		raw     [4]byte
		err     error
	}
	login struct {
		User   string
		APIKey int
		Tries  uint8
		Secret [16]byte
		Last   string
	}
	single      struct{ p *int }
	huge        struct{ Numbers [200]int }
	list[T any] struct {
		head T
		n    int
	}
	stringer interface{ String() string }
	codeErr  struct {
		Code int
		What string
	}
	textErr string
	msgErr  struct{ msg string }
	fullErr struct {
		Code    int
		Message string
	}
)

func (p point) String() string   { return fmt.Sprint(p.X, p.Y) }
func (u *user) String() string   { return u.Name }
func (e *codeErr) Error() string { return fmt.Sprint(e.Code, e.What) }
func (e textErr) Error() string  { return string(e) }
func (e msgErr) Error() string   { return e.msg }
func (e *fullErr) Error() string { return fmt.Sprint(e.Code, ": ", e.Message) }

//go:noinline
func (p point) method(n int) int { return use(p, n) }

//go:noinline
func (u *user) method(s string) { use(u, s) }

//go:noinline
func (l *list[T]) push(v T) int { l.head, l.n = v, l.n+1; return l.n }

var sink int

// use keeps its arguments alive and changes nothing.
//
//go:noinline
func use(values ...interface{}) int { sink += len(values); return sink }

//go:noinline
func integers(a int8, b int16, c int32, d int64, e int, f uint8, g uint16, h uint32, i uint64, j uint, k uintptr, l myInt, m rune) {
	use(a, b, c, d, e, f, g, h, i, j, k, l, m)
}

//go:noinline
func bools(a, b bool) (bool, bool) { use(); return b, a }

//go:noinline
func stringsOf(a, empty, long string, m myString) (s string) { use(a, empty, long, m); return a + "!" }

//go:noinline
func bytesOf(a, none, empty, long, binary []byte, array [5]byte) {
	use(a, none, empty, long, binary, array)
}

//go:noinline
func slices(a []int, none []int, empty []string, s []string, b []bool, f []float64, long []uint16) {
	use(a, none, empty, s, b, f, long)
}

//go:noinline
func big(a []uint64) { use(a) }

//go:noinline
func arrays(a [3]int, one [1]string, none [0]int, s [2]string, octet [1]byte) ([2]int8, [1]int) {
	use(a, one, none, s, octet)
	return [2]int8{-1, 2}, [1]int{5}
}

//go:noinline
func structs(p point, i item, h huge) (item, point) { use(p, i, h); return i, p }

//go:noinline
func structSlices(items []item, pointers []*item, nested [][]int) { use(items, pointers, nested) }

//go:noinline
func pointers(u *user, none *user, n *int, s *string, f *float64, pp **int, b *bool) {
	use(u, none, n, s, f, pp, b)
}

//go:noinline
func secrets(l login, p *login, password string, tokens []string) { use(l, p, password, tokens) }

//go:noinline
func secretFirst(password [3]string, floats [2]float64, plain [2]string) {
	use(password, floats, plain)
}

//go:noinline
func maps(m map[string]int, none, empty map[int]string, p map[int]*point, s map[string]string) {
	use(m, none, empty, p, s)
}

//go:noinline
func keys(yes map[bool]string, small map[int8]string, octets map[uint8]string) {
	use(yes, small, octets)
}

//go:noinline
func secretMaps(m map[string]string, n map[string]int, p map[string]*item, long map[string]int) {
	use(m, n, p, long)
}

//go:noinline
func bigMap(m map[int]int) { use(m) }

//go:noinline
func channels(c chan int, none chan string, r <-chan bool) { use(c, none, r) }

//go:noinline
func funcs(f func(int) int, none func(), closure func() int) { use(f, none, closure) }

//go:noinline
func anys(values interface{}, a, b, c, d, e, f, g interface{}) { use(values, a, b, c, d, e, f, g) }

//go:noinline
func interfaces(s stringer, p stringer, none stringer, r io.Reader) { use(s, p, none, r) }

//go:noinline
func variadic(format string, args ...interface{}) { use(format, args) }

//go:noinline
func variadicInts(n ...int) { use(n) }

//go:noinline
func times(t time.Time, m time.Time, zero time.Time, d time.Duration, p *time.Time) (time.Duration, time.Time) {
	use(t, m, zero, d, p)
	return d * 2, t
}

//go:noinline
func floats(f float64, g float32, c complex128, on [2]float64, p *complex64) float64 {
	use(f, g, c, on, p)
	return f
}

//go:noinline
func spilled(a, b, c, d, e, f, g, h, i, j int, s string, k float64, t []int, u user) (int, string) {
	use(a, b, c, d, e, f, g, h, i, j, s, k, t, u)
	return j, s
}

//go:noinline
func results() (a int, b string, c []string, d *item, e map[string]bool, err error) {
	use()
	return 1, "two", []string{"three"}, &item{Name: "four", Price: 4.5}, map[string]bool{"five": true}, nil
}

//go:noinline
func unnamed(int, string) (int, string) { use(); return 7, "eight" }

//go:noinline
func blank(_ int, s string, _ bool) { use(s) }

//go:noinline
func generic[K comparable, V any](k K, v V, l list[V]) (K, V) { use(k, v, l); return k, v }

//go:noinline
func shaped[T any](v T, all []T, p *T, m map[string]T) T { use(v, all, p, m); return v }

//go:noinline
func (l *list[T]) put(v T) *list[T] { use(v); l.head = v; return l }

//go:noinline
func (l list[T]) last(v T) (T, int) { use(l, v); return l.head, l.n }

//go:noinline
func fails(err error) error { use(err); return err }

//go:noinline
func joins(err error) error { return err }

//go:noinline
func unreadable(s string, b []byte, p *point, list []string, m map[string]int, long string, wide []int) {
	use()
}

//go:noinline
func torn(p *login, after string, n int) { use(after) }

//go:noinline
func cyclic(u *user, m map[string]interface{}, i interface{}) { use(u, m, i) }

func main() {
	integers(-8, -16, -32, -64, -1, 8, 16, 32, 1<<63+64, 1, 0xdead, -3, 'é')
	bools(true, false)
	stringsOf("a", "", strings.Repeat("0123456789", 30), "mine")
	bytesOf([]byte("text"), nil, []byte{}, []byte(strings.Repeat("x", 1000)), []byte{0, 1, 254}, [5]byte{'a', 'r', 'r', 'a', 'y'})
	long := make([]uint16, 120)
	for i := range long {
		long[i] = uint16(i)
	}
	slices([]int{1, -2, 3}, nil, []string{}, []string{"x", "", "yz"}, []bool{true, false}, []float64{1.5, -2}, long)
	big([]uint64{1, 1 << 63})
	arrays([3]int{1, 2, 3}, [1]string{"one"}, [0]int{}, [2]string{"a", "b"}, [1]byte{'x'})
	structs(point{1, -2}, item{"tea", 2.5, 3}, huge{})
	structSlices([]item{{"a", 1, 2}, {"b", 3, 4}}, []*item{{"c", 5, 6}, nil}, [][]int{{1}, {2, 3}})
	mail, n, f, yes := "eve@example.com", 42, 2.75, true
	at := time.Date(2024, 2, 29, 12, 30, 45, 123456789, time.UTC)
	boss := &user{Name: "bob"}
	eve := &user{
		base: base{ID: 7, created: at}, Name: "eve", Email: &mail, Tags: []string{"x", "y"}, Manager: boss,
		Home: point{3, 4}, Limits: map[string]int{"a": 1}, Extra: 12, Pass: "p", Token: "t", Wait: time.Second,
		active: true, score: 0.5, raw: [4]byte{'r', 'a', 'w', '!'}, err: errors.New("sad"),
	}
	pn := &n
	pointers(eve, nil, &n, &mail, &f, &pn, &yes)
	secrets(login{"eve", 1234, 2, [16]byte{1}, "now"}, &login{"bob", 99, 1, [16]byte{2}, "then"}, "hunter2", []string{"t1"})
	secretFirst([3]string{"a", "b", "c"}, [2]float64{1, 2}, [2]string{"d", "e"})
	maps(map[string]int{"one": 1, "two": 2}, nil, map[int]string{}, map[int]*point{5: {1, 2}, -1: nil}, map[string]string{"k": "v", "empty": ""})
	keys(map[bool]string{true: "yes", false: "no"}, map[int8]string{-128: "least", 127: "most"}, map[uint8]string{255: "all"})
	secretMaps(
		map[string]string{"user": "eve", "Authorization": "Bearer 1", "X-Api__Key": "2", "userTokens": "3", "tokenizer": "4", "JWTs": "5", "": "6"},
		map[string]int{"otp": 123456, "hotplate": 1, "password": 2},
		map[string]*item{"mySecret": {"s", 1, 2}, "tea": {"t", 3, 4}},
		map[string]int{strings.Repeat("k", 200): 1},
	)
	many := map[int]int{}
	for i := 0; i < 1000; i++ {
		many[i] = i * i
	}
	bigMap(many)
	c, r := make(chan int, 5), make(chan bool)
	c <- 1
	c <- 2
	channels(c, nil, r)
	funcs(double, nil, func() int { return n })
	anys(nil, 1, "s", 2.5, point{1, 2}, eve, []int{1}, map[string]int{"a": 1})
	interfaces(point{5, 6}, eve, nil, strings.NewReader("abc"))
	variadic("%d %s", 1, "two", nil, errors.New("three"))
	variadicInts(1, 2, 3)
	times(at, time.Unix(1700000000, 5), time.Time{}, 90*time.Second, &at)
	c64 := complex64(complex(1, -2))
	floats(1, 2, 3, [2]float64{0.1, -1e300}, &c64)
	spilled(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "on the stack", 1.25, []int{8, 9}, *eve)
	results()
	unnamed(1, "x")
	blank(1, "two", true)
	generic(1, "v", list[string]{"h", 2})
	generic("k", point{1, 2}, list[point]{point{3, 4}, 1})
	tea := &item{"tea", 2.5, 3}
	shaped(tea, []*item{tea, nil}, &tea, map[string]*item{"a": tea})
	shaped(*tea, []item{*tea}, tea, map[string]item{"a": *tea})
	shaped(time.Second, []time.Duration{1, time.Minute}, nil, nil)
	shaped(at, []time.Time{at}, &at, map[string]time.Time{"at": at})
	shaped(myInt(5), []myInt{6}, nil, nil)
	shaped(eve, nil, nil, nil)
	shaped(secret("hunter2"), nil, nil, nil)
	list[*item]{tea, 1}.last(tea)
	list[time.Duration]{time.Hour, 2}.last(5)
	(&list[*point]{}).put(&point{7, 8})
	point{1, 2}.method(3)
	eve.method("s")
	(&list[int]{1, 2}).push(3)
	for _, err := range errorsOf() {
		fails(err)
	}
	loop := &user{Name: "loop"}
	loop.next, loop.Manager = loop, loop
	loop.Extra = loop
	m := map[string]interface{}{}
	m["self"] = m
	var self interface{}
	self = &self
	cyclic(loop, m, self)
	hidden, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	bad := unsafe.Pointer(&hidden[0])
	words := func(length uintptr) unsafe.Pointer { return unsafe.Pointer(&[3]uintptr{uintptr(bad), length, length}) }
	unreadable(*(*string)(words(5)), *(*[]byte)(words(6)), (*point)(bad), *(*[]string)(words(2)), *(*map[string]int)(unsafe.Pointer(&bad)),
		*(*string)(words(1 << 50)), *(*[]int)(words(1 << 62)))
	// A struct of which two parts are read, the second in a page that is not there.
	pages, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		err = syscall.Mprotect(pages[4096:], syscall.PROT_NONE)
	}
	if err != nil {
		panic(err)
	}
	half := (*login)(unsafe.Pointer(&pages[4096-24]))
	half.User = "eve"
	torn(half, "behind it", 5)
	for _, err := range mainJoined() {
		joins(err)
	}
	fmt.Println("{}")
}

func double(n int) int { return 2 * n }

func errorsOf() []error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	<-expired.Done()
	_, open := os.Open("/does/not/exist")
	_, dial := net.Dial("tcp", "127.0.0.1:1")
	_, number := strconv.Atoi("12x")
	_, parse := url.Parse("http://[::1")
	wrapped := fmt.Errorf("wrapped: %w", io.ErrUnexpectedEOF)
	return []error{
		nil, errors.New("plain"), fmt.Errorf("formatted %d", 1), wrapped, fmt.Errorf("twice: %w", wrapped),
		open, dial, syscall.ENOENT, ctx.Err(), expired.Err(), number, parse, os.NewSyscallError("read", syscall.EBADF),
		&os.LinkError{Op: "link", Old: "a", New: "b", Err: syscall.EEXIST},
		textErr("text"), msgErr{"message"}, &codeErr{404, "not found"}, io.EOF, &net.DNSError{Err: "no such host", Name: "x.invalid"},
		&os.PathError{Op: "open", Path: "/" + strings.Repeat("p", 200), Err: errors.New(strings.Repeat("cause", 40))},
		&strconv.NumError{Func: "Atoi", Num: strings.Repeat("z", 200), Err: strconv.ErrSyntax},
		(*codeErr)(nil), &fullErr{5, "hello"},
	}
}
