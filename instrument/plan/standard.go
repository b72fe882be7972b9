package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// standardTypes are types of the standard library whose layout is the same in all
// releases that are supported, by package. Other names are types that can only be
// pointed to. Interfaces have one method in place of theirs.
var standardTypes = map[string]string{
	"context": `type Context interface{ Done() }; type CancelFunc func(); type CancelCauseFunc func(error)`,
	"time": `type Duration int64; type Month int; type Weekday int
		type Time struct { wall uint64; ext int64; loc *Location }`,
	"io": `type Reader interface{ Read() }; type Writer interface{ Write() }; type Closer interface{ Close() }
		type ReadCloser interface{ Read() }; type WriteCloser interface{ Write() }; type ReadWriter interface{ Read() }
		type ReadWriteCloser interface{ Read() }; type Seeker interface{ Seek() }; type ReadSeeker interface{ Read() }
		type ReaderAt interface{ ReadAt() }; type WriterAt interface{ WriteAt() }`,
	"io/fs": `type FileMode uint32; type FileInfo interface{ Name() }; type DirEntry interface{ Name() }; type FS interface{ Open() }`,
	"os":    `import "io/fs"; type FileMode = fs.FileMode; type FileInfo = fs.FileInfo; type DirEntry = fs.DirEntry; type Signal interface{ Signal() }`,
	"net": `type IP []byte; type IPMask []byte; type HardwareAddr []byte; type Flags uint
		type Addr interface{ Network() }; type Conn interface{ Read() }; type Listener interface{ Accept() }; type PacketConn interface{ ReadFrom() }; type Error interface{ Timeout() }
		type IPNet struct { IP IP; Mask IPMask }; type TCPAddr struct { IP IP; Port int; Zone string }; type UDPAddr struct { IP IP; Port int; Zone string }`,
	"net/http": `type ResponseWriter interface{ Write() }; type Handler interface{ ServeHTTP() }; type HandlerFunc func(ResponseWriter, *Request)
		type RoundTripper interface{ RoundTrip() }; type Header map[string][]string; type ConnState int; type SameSite int`,
	"net/url":       `type Values map[string][]string`,
	"encoding/json": `type RawMessage []byte; type Number string; type Marshaler interface{ MarshalJSON() }`,
	"database/sql": `type NullString struct { String string; Valid bool }; type NullInt64 struct { Int64 int64; Valid bool }
		type NullBool struct { Bool bool; Valid bool }; type NullFloat64 struct { Float64 float64; Valid bool }; type IsolationLevel int`,
	"bytes":   `type Buffer struct { buf []byte; off int; lastRead int8 }`,
	"strings": `type Builder struct { addr *Builder; buf []byte }`,
	"sync":    `type Locker interface{ Lock() }`,
	"reflect": `type Kind uint; type Type interface{ Name() }`,
	"syscall": `type Errno uintptr; type Signal int`,
	"fmt":     `type Stringer interface{ String() }`,
}

// importPath is the package that a name in a declaration stands for.
func importPath(name string) string {
	if _, ok := standardTypes[name]; ok || name == "unsafe" {
		return name
	}
	var paths []string
	for path := range standardTypes {
		if strings.HasSuffix(path, "/"+name) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return name
	}
	return slices.Min(paths)
}

// A standard makes the packages that declarations name.
type standard struct {
	set    *token.FileSet
	named  map[string][]string // by package
	made   map[string]*types.Package
	opaque map[types.Object]bool
}

func newStandard(set *token.FileSet, trees []*ast.File) *standard {
	s := &standard{
		set: set, named: make(map[string][]string), made: make(map[string]*types.Package), opaque: make(map[types.Object]bool),
	}
	for _, tree := range trees {
		for pkg, name := range qualified(tree) {
			path := importPath(pkg)
			s.named[path] = append(s.named[path], name)
		}
	}
	return s
}

// Import makes a package with the types that are known, and with those that are
// named and not known: the latter are opaque.
func (s *standard) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if made := s.made[path]; made != nil {
		return made, nil
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	pkg := types.NewPackage(path, name)
	s.made[path] = pkg
	for _, name := range append(s.named[path], standardOpaque[path]...) {
		if !token.IsExported(name) || strings.Contains(standardTypes[path], "type "+name+" ") || pkg.Scope().Lookup(name) != nil {
			continue
		}
		object := types.NewTypeName(token.NoPos, pkg, name, nil)
		types.NewNamed(object, types.NewStruct(nil, nil), nil)
		pkg.Scope().Insert(object)
		s.opaque[object] = true
	}
	tree, err := parser.ParseFile(s.set, path, "package "+name+"; "+standardTypes[path], parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	config := types.Config{Importer: s, Sizes: sizes}
	if err := types.NewChecker(&config, s.set, pkg, nil).Files([]*ast.File{tree}); err != nil {
		return nil, err
	}
	return pkg, nil
}

// standardOpaque are types that standardTypes name and do not declare.
var standardOpaque = map[string][]string{"time": {"Location"}, "net/http": {"Request"}}
