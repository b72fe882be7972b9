package plan

import (
	"math"
	"slices"
)

// A Step is one thing that the kernel programs read: see struct step of
// bpf/event.h, which has the fields of the same names.
type Step struct {
	Op    Op
	Whole bool
	Empty bool
	// Key says that the data is a key which may look like a secret, Public that
	// the step is taken only where the last one does not.
	Key, Public bool
	// Element says that FollowPointer is for an element of index Limit, and taken only
	// where the word behind the address, the number of elements, is above that.
	Element bool
	Guard   Guard
	Length  Length
	// Offset is in the element that the step is taken for, GuardAt as well.
	Offset, GuardAt uint32
	Size, Limit     uint32
	// Skip is how far behind the address what FollowPointer reads begins.
	Skip uint32
	// Program is what is read of each element that the step leads to.
	Program Program
}

// A Program is steps one behind the other: indexes into Plan.Steps.
type Program struct {
	First uint32
	Count uint16
}

// An Op is what a step does.
type Op uint8

// Ops of steps.
const (
	ReadRange Op = iota
	FollowPointer
	FollowData
	FollowInterface
	EachElement
	FollowShape
)

// A Guard is on which condition a step is taken.
type Guard uint8

// Guards of steps, which look at GuardAt.
const (
	Unguarded Guard = iota
	WordZero
	WordNotZero
	TopHashInUse
	ControlInUse
)

// A Length is where FollowData finds the number of elements.
type Length uint8

// Lengths of data. Log2 and Half look at GuardAt.
const (
	LengthWord Length = iota
	LengthMask
	LengthLog2
	LengthHalf
)

// A span is bytes of an element.
type span struct{ start, end uint32 }

// extent is how many of a value's first bytes have to be read to show it.
func extent(n *Node) uint32 {
	ranges := n.ranges()
	if len(ranges) == 0 {
		return 0
	}
	return ranges[len(ranges)-1].end
}

// ranges are the bytes of a value that are read, ascending: all that it shows,
// and what lies between, unless that is redacted.
func (n *Node) ranges() []span {
	var read, never []span
	n.collect(0, &read, &never)
	return merge(read, never)
}

func (g *Group) ranges() []span {
	read := []span{{g.Control, g.Control + Slots}}
	var never []span
	for i := range uint32(Slots) {
		g.Key.collect(g.Keys+i*g.KeyStride, &read, &never)
		elem := g.Elems + i*g.ElemStride
		if g.Judged() { // only once its key is known
			never = append(never, span{elem, elem + g.ElemStride})
			continue
		}
		g.Elem.collect(elem, &read, &never)
	}
	slices.SortFunc(read, func(a, b span) int { return int(a.start) - int(b.start) })
	return merge(read, never)
}

func merge(read, never []span) []span {
	var merged []span
	for _, r := range read {
		if len(merged) > 0 {
			last := &merged[len(merged)-1]
			if !slices.ContainsFunc(never, func(s span) bool { return s.start < r.start && s.end > last.end }) {
				last.end = max(last.end, r.end)
				continue
			}
		}
		merged = append(merged, r)
	}
	return merged
}

func (n *Node) collect(at uint32, read, never *[]span) {
	switch n.Kind {
	case None:
	case Redacted:
		*never = append(*never, span{at, at + n.Size})
	case Struct:
		for i := range n.Fields {
			n.Fields[i].Node.collect(at+n.Fields[i].Offset, read, never)
		}
	case Shape:
		n.Elem.collect(at, read, never)
	case Array:
		for i := range n.Limit {
			n.Elem.collect(at+i*n.Elem.Size, read, never)
		}
	case ByteArray:
		*read = append(*read, span{at, at + n.Limit})
	default:
		*read = append(*read, span{at, at + n.Size})
	}
}

// A compiler makes steps of nodes.
type compiler struct {
	steps    []Step
	programs map[*Node]elements
	groups   map[*Group]elements
}

// elements is how elements of a kind are read.
type elements struct {
	Program
	whole bool
	size  uint32 // of the part of one that is read
}

func newCompiler() *compiler {
	return &compiler{programs: make(map[*Node]elements), groups: make(map[*Group]elements)}
}

// element compiles what is read of an element that lies in a chunk: the ranges,
// where it is not read at once, then what it leads to.
func (c *compiler) element(n *Node) elements {
	if known, ok := c.programs[n]; ok {
		return known
	}
	e, steps := inOneOrMore(n.ranges())
	e.Program = c.add(append(steps, c.follow(n, 0)...))
	c.programs[n] = e
	return e
}

// inOneOrMore says whether an element is read at once, and else by which steps.
func inOneOrMore(ranges []span) (e elements, steps []Step) {
	switch {
	case len(ranges) == 0:
		return elements{whole: true}, nil
	case len(ranges) == 1 && ranges[0].start == 0:
		return elements{whole: true, size: ranges[0].end}, nil
	}
	for _, r := range ranges {
		steps = append(steps, Step{Op: ReadRange, Offset: r.start, Size: r.end - r.start})
	}
	return elements{size: ranges[len(ranges)-1].end}, steps
}

// add puts a program among the steps.
func (c *compiler) add(steps []Step) Program {
	if len(steps) == 0 || len(steps) > math.MaxUint16 {
		return Program{}
	}
	p := Program{First: uint32(len(c.steps)), Count: uint16(len(steps))}
	c.steps = append(c.steps, steps...)
	return p
}

// follow compiles what a value at an offset leads to. The order is that in which
// the chunks come.
func (c *compiler) follow(n *Node, at uint32) []Step {
	switch n.Kind {
	case String, Bytes, IP:
		return []Step{{Op: FollowData, Offset: at, Size: 1, Limit: n.Limit, Whole: true}}
	case Slice:
		e := c.element(n.Elem)
		return []Step{{Op: FollowData, Offset: at, Size: n.Elem.Size, Limit: n.Limit, Whole: e.whole, Program: e.Program}}
	case Pointer:
		e := c.element(n.Elem)
		return []Step{{Op: FollowPointer, Offset: at, Size: e.size, Whole: e.whole, Program: e.Program, Skip: n.Skip}}
	case Interface, Error, Assert:
		return []Step{{Op: FollowInterface, Offset: at, Empty: n.Empty, Limit: n.Of}}
	case Element:
		e := c.element(n.Elem)
		return []Step{{
			Op: FollowPointer, Offset: at, Size: e.size, Whole: e.whole, Program: e.Program,
			Element: true, Limit: n.Count, Skip: n.Skip,
		}}
	case Len:
		return []Step{{Op: FollowPointer, Offset: at, Size: wordSize, Whole: true, Skip: n.Skip}}
	case Shape:
		return []Step{{Op: FollowShape, Offset: at, GuardAt: n.Dictionary, Limit: n.Of, Program: c.add(c.follow(n.Elem, 0))}}
	case Chan:
		return []Step{{Op: FollowPointer, Offset: at, Size: chanSize, Whole: true}}
	case Func:
		return []Step{{Op: FollowPointer, Offset: at, Size: wordSize, Whole: true}}
	case Map, Entry:
		return []Step{{Op: FollowPointer, Offset: at, Size: n.Map.Size, Whole: true, Program: c.mapHeader(n.Map)}}
	case Struct:
		var steps []Step
		for i := range n.Fields {
			steps = append(steps, c.follow(n.Fields[i].Node, at+n.Fields[i].Offset)...)
		}
		return steps
	case Array:
		program := c.add(c.follow(n.Elem, 0))
		if program.Count == 0 || n.Limit == 0 {
			return nil
		}
		return []Step{{Op: EachElement, Offset: at, Size: n.Elem.Size, Limit: n.Limit, Program: program}}
	}
	return nil
}

// mapHeader compiles what the header of a map leads to.
func (c *compiler) mapHeader(m *MapLayout) Program {
	group := c.group(m.Group)
	if !m.Swiss {
		bucket := Step{Op: FollowData, Size: m.Group.Size, Limit: m.Limit, Whole: group.whole, Program: group.Program, GuardAt: m.Log2}
		now, old := bucket, bucket
		now.Offset, now.Length = m.Buckets, LengthLog2
		old.Offset, old.Length = m.Old, LengthHalf
		return c.add([]Step{now, old})
	}
	table := c.add([]Step{{
		Op: FollowData, Offset: m.Groups, Size: m.Group.Size, Limit: m.Limit, Length: LengthMask,
		Whole: group.whole, Program: group.Program,
	}})
	directory := c.add([]Step{{Op: FollowPointer, Size: m.TableSize, Whole: true, Program: table}})
	return c.add([]Step{
		{
			Op: FollowPointer, Offset: m.Dir, Size: m.Group.Size, Guard: WordZero, GuardAt: m.DirLen,
			Whole: group.whole, Program: group.Program,
		},
		{
			Op: FollowPointer, Offset: m.Dir, Size: wordSize, Guard: WordNotZero, GuardAt: m.DirLen,
			Whole: true, Program: directory,
		},
	})
}

// group compiles what the slots in use of a group lead to.
func (c *compiler) group(g *Group) elements {
	if known, ok := c.groups[g]; ok {
		return known
	}
	e, steps := inOneOrMore(g.ranges())
	for i := range uint32(Slots) {
		key := c.follow(g.Key, g.Keys+i*g.KeyStride)
		elem := c.follow(g.Elem, g.Elems+i*g.ElemStride)
		if g.Judged() {
			key[0].Key = true
			for _, r := range g.Elem.ranges() {
				elem = append([]Step{{Op: ReadRange, Offset: g.Elems + i*g.ElemStride + r.start, Size: r.end - r.start}}, elem...)
			}
			for j := range elem {
				elem[j].Public = true
			}
		}
		slot := append(key, elem...)
		for j := range slot {
			slot[j].Guard, slot[j].GuardAt = TopHashInUse, g.Control+i
			if g.Swiss {
				slot[j].Guard = ControlInUse
			}
		}
		steps = append(steps, slot...)
	}
	e.Program, e.size = c.add(steps), g.Size
	c.groups[g] = e
	return e
}
