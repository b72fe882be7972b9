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
	// Key says that the part is a key which may look like a secret, Text that its own
	// bytes are text. Public says that a part is read only where the last key does not
	// look like one.
	Key, Text, Public bool
	// Element says that FollowPointer is for an element of index Limit, and taken only
	// where the word behind the address, the number of elements, is above that.
	Element bool
	Guard   Guard
	Length  Length
	// Offset is in the element that the step is taken for, GuardAt as well.
	Offset, GuardAt uint32
	Size, Limit     uint32
	// Skip is how far behind the address what FollowPointer reads begins; of each
	// element of FollowData, how many bytes are not in the chunk.
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
	FollowPart
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

// ranges are the bytes of a value that are read, ascending: all that it shows,
// and what lies between, unless that is redacted.
func (n *Node) ranges() []span {
	var read, never []span
	n.collect(0, &read, &never)
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
	apart    map[*Node]elements
	groups   map[*Group]elements
}

// elements is how elements of a kind are read.
type elements struct {
	Program
	whole bool
	size  uint32 // of the part of one that is read
	last  bool   // what is behind that part must not be read
}

func newCompiler() *compiler {
	return &compiler{
		programs: make(map[*Node]elements), apart: make(map[*Node]elements), groups: make(map[*Group]elements),
	}
}

// element compiles what is read of an element that lies in a chunk: the ranges,
// where it is not read at once, then what it leads to.
func (c *compiler) element(n *Node) elements {
	if known, ok := c.programs[n]; ok {
		return known
	}
	var read, never []span
	n.collect(0, &read, &never)
	e, steps := inOneOrMore(merge(read, never))
	e.last = slices.ContainsFunc(never, func(s span) bool { return s.start >= e.size })
	e.Program = c.add(append(steps, c.follow(n, 0)...))
	c.programs[n] = e
	return e
}

// several compiles what is read of elements that lie behind each other.
func (c *compiler) several(n *Node) elements {
	e := c.element(n)
	if !e.whole || !e.last {
		return e
	}
	if known, ok := c.apart[n]; ok {
		return known
	}
	steps := slices.Clone(c.steps[e.First:][:e.Count])
	if e.size > 0 {
		steps = append([]Step{{Op: ReadRange, Size: e.size}}, steps...)
	}
	e.Program, e.whole = c.add(steps), false
	c.apart[n] = e
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
		e := c.several(n.Elem)
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
		bucket := Step{
			Op: FollowData, Size: group.size, Skip: m.Group.Size - group.size, Limit: m.Limit,
			Whole: group.whole, Program: group.Program, GuardAt: m.Log2,
		}
		now, old := bucket, bucket
		now.Offset, now.Length = m.Buckets, LengthLog2
		old.Offset, old.Length = m.Old, LengthHalf
		return c.add([]Step{now, old})
	}
	table := c.add([]Step{{
		Op: FollowData, Offset: m.Groups, Size: group.size, Skip: m.Group.Size - group.size, Limit: m.Limit,
		Length: LengthMask, Whole: group.whole, Program: group.Program,
	}})
	directory := c.add([]Step{{Op: FollowPointer, Size: m.TableSize, Whole: true, Program: table}})
	return c.add([]Step{
		{
			Op: FollowPointer, Offset: m.Dir, Size: group.size, Guard: WordZero, GuardAt: m.DirLen,
			Whole: group.whole, Program: group.Program,
		},
		{
			Op: FollowPointer, Offset: m.Dir, Size: wordSize, Guard: WordNotZero, GuardAt: m.DirLen,
			Whole: true, Program: directory,
		},
	})
}

// group compiles what is read of a group: all of it and what the slots in use lead
// to, or one slot in use after the other, its key first.
func (c *compiler) group(g *Group) elements {
	if known, ok := c.groups[g]; ok {
		return known
	}
	e := elements{whole: !g.Apart, size: g.Head()}
	var steps []Step
	if g.Apart {
		steps = append(steps, Step{Op: ReadRange, Offset: g.Control, Size: Slots})
	}
	for i := range uint32(Slots) {
		slot := append(c.key(g, g.Keys+i*g.KeyStride), c.elem(g, g.Elems+i*g.ElemStride)...)
		for j := range slot {
			slot[j].Guard, slot[j].GuardAt = TopHashInUse, g.Control+i
			if g.Swiss {
				slot[j].Guard = ControlInUse
			}
		}
		steps = append(steps, slot...)
	}
	e.Program = c.add(steps)
	c.groups[g] = e
	return e
}

func (c *compiler) key(g *Group, at uint32) []Step {
	if !g.Apart {
		return c.follow(g.Key, at)
	}
	steps := c.part(g.Key, at)
	for i := range steps {
		steps[i].Key, steps[i].Text = g.Judged, g.Key.inline()
	}
	return steps
}

func (c *compiler) elem(g *Group, at uint32) []Step {
	if !g.Apart {
		return c.follow(g.Elem, at)
	}
	steps := c.part(g.Elem, at)
	for i := range steps {
		steps[i].Public = g.Judged
	}
	return steps
}

// part compiles what is read of a value in a chunk of its own; nothing where there
// is nothing to be read.
func (c *compiler) part(n *Node, at uint32) []Step {
	e := c.element(n)
	if e.size == 0 {
		return nil
	}
	return []Step{{Op: FollowPart, Offset: at, Size: e.size, Whole: e.whole, Program: e.Program}}
}
