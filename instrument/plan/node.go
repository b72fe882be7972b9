package plan

// A Kind is how a value is read and shown.
type Kind uint8

// Kinds of nodes.
const (
	None     Kind = iota // not read: Node.Reason says why
	Redacted             // not read: its name looks like that of a secret
	Int                  // sign-extended
	Uint
	Bool
	Float
	Complex
	Address   // a pointer that is not followed, shown in hexadecimal
	Pointer   // to Elem, Skip bytes behind the address
	Element   // of a slice or a string: Elem is that with the index Count, Skip bytes behind the address
	Entry     // of a map: the one with the key Key, of which Elem is shown
	Assert    // an interface that holds what the expression says: Elem is that
	Len       // of a map or a channel: the word Skip bytes behind the address, 0 for nil
	String    // Limit bytes
	Bytes     // a slice of Limit bytes
	Slice     // of Limit elements Elem
	Array     // of Count elements Elem, Limit of which are shown
	ByteArray // of Count bytes, Limit of which are shown
	Struct    // Fields
	Map       // Layout
	Chan      // its length and capacity
	Func      // its name
	Interface // the dynamic type, and a value by it
	Error     // an interface that is an error: the same, shown as its message
	Time      // a time.Time
	Shape     // of a type parameter: by the dictionary of the call, else as Elem
	Duration  // a time.Duration
	IP        // a net.IP
)

// A Node says how a value of one type is read and shown, wherever it lies. Nodes
// are shared and never changed.
//
// What a value points to lies in other chunks of memory than itself: Steps says
// what the kernel programs read of them, and whoever decodes what they read goes
// the same way. Offsets are from the value's first byte.
type Node struct {
	Kind Kind
	// Type is the Go type as written.
	Type string
	// Size is that of the value in its chunk, in bytes.
	Size uint32
	// Reason is why there is no value.
	Reason string
	// Fields are those of a Struct that are shown; Left says how many more it has.
	Fields []Field
	Left   int
	// Elem is what a Pointer or an Element leads to, or an element of a Slice or an Array.
	Elem *Node
	// Count is how many elements an Array has, Limit how many elements of a value
	// are read at most.
	Count, Limit uint32
	// Skip is where what a Pointer, an Element or a Len leads to begins, in bytes.
	Skip uint32
	// Map is the layout of a Map or an Entry; Key is a string or an int64.
	Map *MapLayout
	Key any
	// Of tells apart what is read of the dynamic types of an interface, by how
	// much of it is to be shown: an index into Plan.Dynamics, with the type. Of a
	// Shape it is with the address of the dictionary, which is the word at Dictionary
	// of the root chunk of the arguments.
	Of         uint32
	Dictionary uint32
	// Empty says that an interface has no methods: its first word is the type.
	Empty bool
}

// A Field is a field of a struct.
type Field struct {
	Name   string
	Offset uint32
	Node   *Node
}

// A MapLayout is where a map has its entries. Offsets are in bytes.
type MapLayout struct {
	// Size is that of the header, which begins with the number of entries.
	Size uint32
	// Swiss says which of the two implementations it is: that of Go 1.24
	// (internal/runtime/maps), or the buckets of before (runtime/map.go).
	Swiss bool
	// Buckets are the pointers to buckets and to those before growth, Log2 the
	// binary logarithm of the number of buckets.
	Buckets, Old, Log2 uint32
	// Dir is the pointer to a group, or, where the word at DirLen is not zero, to
	// pointers to tables of TableSize bytes, in which at Groups is a pointer to
	// groups, and their number less one behind it.
	Dir, DirLen, TableSize, Groups uint32
	// Group is a group or a bucket.
	Group *Group
	// Limit is how many groups are read at most, Entries how many entries are shown.
	Limit, Entries uint32
}

// A Group is eight slots for entries, each with a byte that says whether it is in
// use: a group of a Swiss map, or a bucket.
type Group struct {
	Size    uint32
	Swiss   bool
	Control uint32 // the bytes
	// Keys and Elems are where the first is, Stride what is between two.
	Keys, KeyStride   uint32
	Elems, ElemStride uint32
	Key, Elem         *Node
	// Judged says that keys may hold text: what belongs to one is read only where
	// it does not look like a secret.
	Judged bool
	// Apart says that keys and elements are read one by one, for the slots in use,
	// into chunks of their own; of the group itself, only the bytes in front.
	Apart bool
	// KeyBytes and ElemBytes are how many of the first bytes of each are read, then.
	KeyBytes, ElemBytes uint32

	elsewhere bool // an element is a pointer to what the map has for one
}

// Head is how much of a group is read as a whole, in bytes.
func (g *Group) Head() uint32 {
	if g.Apart {
		return g.Control + Slots
	}
	return g.Size
}

// Extent is how many of a value's first bytes have to be read to show it.
func (n *Node) Extent() uint32 {
	ranges := n.ranges()
	if len(ranges) == 0 {
		return 0
	}
	return ranges[len(ranges)-1].end
}

// text says whether a key may hold text, and whether all of that is read, so that
// it can be judged.
func (n *Node) text() (holds, whole bool) {
	holds, whole = false, true
	add := func(part *Node) {
		h, w := part.text()
		holds, whole = holds || h, whole && w
	}
	switch n.Kind {
	case Int, Uint, Bool, Float, Complex, Address, Time, Duration:
	case String, Interface:
		holds = true
	case ByteArray:
		return true, n.Limit == n.Count
	case Pointer:
		add(n.Elem)
	case Array:
		add(n.Elem)
		whole = whole && (!holds || n.Limit == n.Count)
	case Struct:
		for i := range n.Fields {
			add(n.Fields[i].Node)
		}
		if n.Left > 0 {
			return true, false
		}
	default: // it may be anything
		return true, false
	}
	return holds, whole
}

// secret says whether some of the value must not be read.
func (n *Node) secret() bool {
	var read, never []span
	n.collect(0, &read, &never)
	return len(never) > 0
}

// inline says whether text is among the bytes of the value itself.
func (n *Node) inline() bool {
	switch n.Kind {
	case ByteArray:
		return true
	case Array:
		return n.Elem.inline()
	case Struct:
		for i := range n.Fields {
			if n.Fields[i].Node.inline() {
				return true
			}
		}
	}
	return false
}

// Slots is the number of slots of a group (abi.SwissMapGroupSlots, bucketCnt).
const Slots = 8

// Sizes that every version of Go has on 64-bit architectures.
const (
	wordSize      = 8
	chanSize      = 16 // of a channel as far as it is read: length, capacity
	timeSize      = 24
	interfaceSize = 16
	sliceSize     = 24
	stringSize    = 16
	ipSize        = 16 // of an address in a net.IP, at most
)

// chunkMax bounds what is read in one piece, in bytes.
const chunkMax = 1024
