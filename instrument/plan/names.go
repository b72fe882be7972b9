package plan

import (
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// local is a function's name within its package: `(*Cart).Add`, `main.func1`.
func local(fn *gobin.Function) string {
	return strings.TrimPrefix(strings.TrimPrefix(fn.Name, fn.Package), ".")
}

// base is the last element of a function's name, which a wrapper shares with
// what it wraps: `Add` of `cart.(*Cart).Add` and of `cart.Cart.Add`.
func base(fn *gobin.Function) string {
	name := withoutTypes(local(fn))
	return name[strings.LastIndexByte(name, '.')+1:]
}

// withoutTypes cuts the type arguments out of a name.
func withoutTypes(name string) string {
	open := strings.IndexByte(name, '[')
	shut := strings.LastIndexByte(name, ']')
	if open < 0 || shut < open {
		return name
	}
	return name[:open] + name[shut+1:]
}

// initializer says that the function is a package's initialisation: the
// compiler's `init`, or an `init` function of the source (`init.0`). Function
// literals in variable declarations (`init.func1`) are ordinary functions.
func initializer(fn *gobin.Function) bool {
	rest, ok := strings.CutPrefix(local(fn), "init")
	return ok && (rest == "" || rest[0] == '.' && digits(rest[1:]))
}

// A mark is how the names of functions look that the compiler made.
type mark struct {
	text string // what a pattern contains that names such functions on purpose
	what string // in the plural
}

var (
	markGo    = mark{"gowrap", "wrappers of go statements"}
	markDefer = mark{"deferwrap", "wrappers of defer statements"}
	markValue = mark{"-fm", "wrappers of method values"}
	markRange = mark{"-range", "bodies of range-over-func loops"}
	markMap   = mark{"map.init", "initialisers of maps"}
	markType  = mark{"type:", "comparisons and hashes of types"}
)

// made tells by its name what the compiler made a function for. The zero mark
// says that the source declares it, or that it is a method or ABI wrapper,
// which names do not tell.
//
// The names are those of cmd/compile: closureName in ir/func.go, typecheck's
// and reflectdata's symbols. Before Go 1.22 the wrappers of go and defer
// statements are called like function literals, and FuncID_wrapper tells them.
func made(fn *gobin.Function) mark {
	if strings.HasPrefix(fn.Symbol, "type:") || strings.HasPrefix(fn.Symbol, "type..") {
		return markType
	}
	last := base(fn)
	switch {
	case numbered(last, "gowrap"):
		return markGo
	case numbered(last, "deferwrap"):
		return markDefer
	case strings.HasSuffix(last, "-fm"):
		return markValue
	case strings.HasPrefix(local(fn), "map.init."):
		return markMap
	case fn.Wrapper && numbered(last, "func"):
		return markGo
	}
	if i := strings.LastIndex(last, "-range"); i >= 0 && digits(last[i+len("-range"):]) {
		return markRange
	}
	return mark{}
}

func numbered(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	return ok && digits(rest)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
