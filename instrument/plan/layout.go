package plan

import (
	"fmt"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// Bounds of captured values where the rules have none.
const (
	defaultStringBytes = 128
	defaultItems       = 16
	defaultDepth       = 1
	maxFields          = 32      // of a struct
	maxGroups          = 4       // of a map
	maxGroup           = 1 << 14 // bytes of one
	keyDepth           = 1
)

// Bounds of Rules.StringBytes and Rules.Items: a chunk.
const (
	MaxStringBytes = chunkMax
	MaxItems       = chunkMax
)

// MaxDepth bounds Rules.Depth: each level is a chunk that leads to others, of
// which the kernel programs go along eight.
const MaxDepth = 4

// Node.Of of interfaces whose values are worth it whatever the depth: errors, and
// the addresses in the messages of network errors.
const (
	ofError = 255
	ofAddr  = 254
	ofKey   = 253 // of keys of maps
)

// A layouter makes nodes of types. Depth is how many levels of structs may still
// be shown.
type layouter struct {
	stringBytes, items uint32
	depth              int
	secrets            *Automaton
	known              map[layoutKey]*Node
	shapes             []shaped
	asserted           []asserted
	// held finds a type that an interface may hold, seen from a package.
	held func(name, pkg string) (held gobin.RuntimeType, t *gobin.Type, near []string, problem string)
}

type layoutKey struct {
	t     *gobin.Type
	depth int
	what  where
}

// where a value lies: in memory as the compiler lays it out, or in registers, one
// for each part.
type where uint8

const (
	inMemory where = iota
	inRegisters
	// inKey is within a key of a map. All is shown that tells it from others: structs
	// whatever the depth, and pointers as such.
	inKey
)

func newLayouter(rules *Rules, secrets *Automaton) *layouter {
	l := &layouter{stringBytes: defaultStringBytes, items: defaultItems, depth: defaultDepth, secrets: secrets, known: make(map[layoutKey]*Node)}
	if rules.StringBytes > 0 {
		l.stringBytes = uint32(min(rules.StringBytes, chunkMax))
	}
	if rules.Items > 0 {
		l.items = uint32(min(rules.Items, chunkMax))
	}
	if rules.Depth > 0 {
		l.depth = min(rules.Depth, MaxDepth)
	}
	return l
}

// of is the node of a type.
func (l *layouter) of(t *gobin.Type, depth int, what where) *Node {
	if t == nil || t.Kind == gobin.Invalid {
		return &Node{Kind: None, Reason: "its type is not known"}
	}
	key := layoutKey{t, depth, what}
	if n := l.known[key]; n != nil {
		return n
	}
	n := l.make(t, depth, what)
	n.Type = t.Name
	l.known[key] = n
	return n
}

func none(format string, args ...any) *Node {
	return &Node{Kind: None, Reason: fmt.Sprintf(format, args...)}
}

func (l *layouter) make(t *gobin.Type, depth int, what where) *Node {
	size := uint32(min(max(t.Size, 0), 1<<31-1))
	switch t.Kind {
	case gobin.Bool:
		return &Node{Kind: Bool, Size: 1}
	case gobin.Int:
		if t.Name == "time.Duration" {
			return &Node{Kind: Duration, Size: 8}
		}
		return &Node{Kind: Int, Size: size}
	case gobin.Uint:
		return &Node{Kind: Uint, Size: size}
	case gobin.Float, gobin.Complex:
		kind, name := Float, "float"
		if t.Kind == gobin.Complex {
			kind, name = Complex, "complex"
		}
		if what == inRegisters {
			return none("%s in a register", name)
		}
		return &Node{Kind: kind, Size: size}
	case gobin.String:
		return &Node{Kind: String, Size: stringSize, Limit: l.stringBytes}
	case gobin.Pointer:
		if what == inKey {
			return &Node{Kind: Address, Size: wordSize}
		}
		return l.pointer(t, depth)
	case gobin.Slice:
		return l.slice(t, depth)
	case gobin.Array:
		return l.array(t, depth, what)
	case gobin.Struct:
		if isTime(t) {
			return &Node{Kind: Time, Size: timeSize}
		}
		if depth <= 0 && size > 0 && what != inKey {
			n := none("a struct below the capture depth")
			n.Size = size
			return n
		}
		return l.structure(t, depth, what)
	case gobin.Interface, gobin.EmptyInterface:
		n := &Node{Kind: Interface, Size: interfaceSize, Empty: t.Kind == gobin.EmptyInterface, Of: uint32(depth)}
		switch {
		case what == inKey:
			n.Of = ofKey
		case t.Error:
			n.Kind, n.Of = Error, ofError
		case t.Name == "net.Addr":
			n.Of = ofAddr
		}
		return n
	case gobin.Map:
		return l.mapping(t, depth)
	case gobin.Chan:
		if what == inKey {
			return &Node{Kind: Address, Size: wordSize}
		}
		return &Node{Kind: Chan, Size: wordSize}
	case gobin.Func:
		return &Node{Kind: Func, Size: wordSize}
	}
	return none("its type is not known")
}

func isTime(t *gobin.Type) bool { return t.Name == "time.Time" && t.Size == timeSize }

// pointer follows pointers to what is shown in one piece, and to structs while
// there is depth.
func (l *layouter) pointer(t *gobin.Type, depth int) *Node {
	address := &Node{Kind: Address, Size: wordSize}
	if shapeOfPointer(t) || t.Elem == nil || t.Elem.Size == 0 || t.Elem.Kind == gobin.Pointer || !simple(t.Elem) && depth <= 0 {
		return address
	}
	elem := l.of(t.Elem, depth, inMemory)
	if elem.Kind == None {
		return address
	}
	return &Node{Kind: Pointer, Size: wordSize, Elem: elem}
}

// shapeOfPointer says whether a type stands for any pointer, whatever it leads to.
func shapeOfPointer(t *gobin.Type) bool { return strings.HasPrefix(t.Name, "go.shape.*") }

// simple says whether a value is one scalar, or a text.
func simple(t *gobin.Type) bool {
	switch t.Kind {
	case gobin.Bool, gobin.Int, gobin.Uint, gobin.Float, gobin.Complex, gobin.String:
		return true
	case gobin.Struct:
		return isTime(t)
	}
	return bytesOf(t)
}

// bytesOf says whether a type is a slice or an array of bytes.
func bytesOf(t *gobin.Type) bool {
	return (t.Kind == gobin.Slice || t.Kind == gobin.Array) && t.Elem != nil && t.Elem.Kind == gobin.Uint && t.Elem.Size == 1
}

// elem is the node of an element, and how many of them are read at most; 0 with a
// node that says why.
func (l *layouter) elem(t *gobin.Type, depth int, what where) (*Node, uint32) {
	switch {
	case t == nil:
		return none("the type of its elements is not known"), 0
	case simple(t), t.Kind == gobin.Interface, t.Kind == gobin.EmptyInterface:
	case depth <= 0 && what != inKey:
		return none("elements of type %s below the capture depth", t.Name), 0
	case t.Kind == gobin.Slice, t.Kind == gobin.Array, t.Kind == gobin.Map:
		depth--
	}
	n := l.of(t, depth, what)
	if n.Kind == None {
		return n, 0
	}
	if t.Size > chunkMax {
		return none("elements of more than %d bytes", chunkMax), 0
	}
	if t.Size == 0 {
		return n, l.items
	}
	if n.Size != uint32(t.Size) { // an element must be as far from the next as it is in memory
		whole := *n
		whole.Size = uint32(t.Size)
		n = &whole
	}
	return n, min(l.items, uint32(chunkMax/t.Size))
}

func (l *layouter) slice(t *gobin.Type, depth int) *Node {
	if t.Name == "net.IP" {
		return &Node{Kind: IP, Size: sliceSize, Limit: ipSize}
	}
	if bytesOf(t) {
		return &Node{Kind: Bytes, Size: sliceSize, Limit: l.stringBytes}
	}
	elem, limit := l.elem(t.Elem, depth, inMemory)
	if limit == 0 {
		return none("%s", elem.Reason)
	}
	return &Node{Kind: Slice, Size: sliceSize, Elem: elem, Limit: limit}
}

func (l *layouter) array(t *gobin.Type, depth int, what where) *Node {
	size := uint32(min(t.Size, 1<<31-1))
	count := uint32(min(t.Len, 1<<31-1))
	if bytesOf(t) { // in registers, too: one of them at most
		return &Node{Kind: ByteArray, Size: size, Count: count, Limit: min(count, l.stringBytes)}
	}
	if what == inRegisters {
		if t.Len == 0 {
			return &Node{Kind: Array, Elem: none("no element")}
		}
		elem := l.of(t.Elem, depth, what)
		return &Node{Kind: Array, Size: elem.Size, Elem: elem, Count: 1, Limit: 1}
	}
	elem, limit := l.elem(t.Elem, depth, what)
	if limit == 0 {
		n := none("%s", elem.Reason)
		n.Size = size
		return n
	}
	return &Node{Kind: Array, Size: size, Elem: elem, Count: count, Limit: min(limit, count)}
}

// structure lays out a struct. In registers, every part has one of its own.
func (l *layouter) structure(t *gobin.Type, depth int, what where) *Node {
	n := &Node{Kind: Struct, Size: uint32(min(t.Size, 1<<31-1))}
	register := uint32(0)
	for i := range t.Fields {
		field := &t.Fields[i]
		offset := uint32(field.Offset)
		if what == inRegisters {
			integers, _, _ := registersOf(field.Type)
			offset = register * wordSize
			register += uint32(integers)
		}
		if field.Name == "_" {
			continue
		}
		if len(n.Fields) == maxFields {
			n.Left++
			continue
		}
		f := Field{Name: fieldName(field.Name), Offset: offset}
		switch {
		case field.Type == nil:
			f.Node = none("its type is not known")
		case l.secrets.secret(field.Name, field.Type, ""):
			f.Node = &Node{Kind: Redacted, Size: uint32(min(max(field.Type.Size, 0), 1<<31-1))}
		case field.Embedded && field.Type.Kind == gobin.Struct:
			f.Node = l.of(field.Type, depth, what) // its fields are the struct's own
		default:
			f.Node = l.of(field.Type, depth-1, what)
		}
		if what != inRegisters && f.Node.Extent() > 0 && offset+f.Node.Extent() > chunkMax {
			f.Node = none("beyond the first %d bytes", chunkMax)
		}
		n.Fields = append(n.Fields, f)
	}
	if what == inRegisters {
		n.Size = register * wordSize
	}
	return n
}

// fieldName is a field's name, an embedded one's without its package.
func fieldName(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 && !strings.Contains(name, "[") {
		return name[i+1:]
	}
	return name
}
