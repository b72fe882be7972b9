package gobin

import (
	"strconv"
	"strings"
)

// printName turns a symbol into the name that tracebacks print: type arguments
// become `[...]` (runtime.funcNamePiecesForPrint), and the import path loses the
// escapes that the linker needs (cmd/internal/objabi.PathToPrefix).
func printName(symbol string) string {
	name := symbol
	if open := strings.IndexByte(name, '['); open >= 0 {
		if end := strings.LastIndexByte(name, ']'); end > open {
			name = name[:open] + "[...]" + name[end+1:]
		}
	}
	path := pathLength(name)
	if strings.IndexByte(name[:path], '%') < 0 {
		return name
	}
	return unescape(name[:path]) + name[path:]
}

// packagePath takes the import path out of a symbol; empty for symbols that
// belong to no package, such as `type:.eq.main.T` and `_cgo_init`.
func packagePath(symbol string) string {
	// Before Go 1.20: `type..eq.main.T`.
	if strings.HasPrefix(symbol, "type:") || strings.HasPrefix(symbol, "go:") || strings.HasPrefix(symbol, "type..") {
		return ""
	}
	return unescape(symbol[:pathLength(symbol)])
}

// pathLength is the length of the escaped import path that a symbol begins
// with. Dots behind the last slash of a path are escaped, so the path ends at
// the first one; slashes and dots in type arguments do not count.
func pathLength(symbol string) int {
	plain := symbol
	if open := strings.IndexByte(plain, '['); open >= 0 {
		plain = plain[:open]
	}
	slash := strings.LastIndexByte(plain, '/') + 1
	dot := strings.IndexByte(plain[slash:], '.')
	if dot < 0 {
		return 0
	}
	return slash + dot
}

// unescape undoes %xx. What is no escape stays.
func unescape(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
