package plan

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/uspan/uspan/instrument/gobin"
)

// capture lays out what is read at the entry and at the exits of a function.
func (l *layouter) capture(arch *architecture, fn *gobin.Function, sig *gobin.Signature) (args, results Part) {
	params, rets, _ := arch.assign(sig, isMethod(fn), fn.Assembly)
	d := arch.dictionaryOf(fn, sig, params)
	args, results = l.part(sig.Params, params, "", d), l.part(sig.Results, rets, base(fn), d)
	if d != nil && d.used {
		args.Registers = 1 << d.register
	}
	args.place(params)
	results.place(rets)
	return args, results
}

// isMethod says whether the function has a receiver, which its name tells:
// `pkg.T.M`, `pkg.(*T).M`. Function literals do not have one, nor a dictionary:
// theirs is in the closure.
func isMethod(fn *gobin.Function) bool {
	name := withoutTypes(local(fn))
	if numbered(base(fn), "func") {
		return false
	}
	dot := -1
	for i := range len(name) {
		if name[i] == '.' {
			if dot >= 0 {
				return false
			}
			dot = i
		}
	}
	return dot > 0
}

// part lays out parameters, or results.
func (l *layouter) part(params []gobin.Param, at []assignment, function string, d *dictionaryArgument) Part {
	p := Part{Captures: make([]Capture, len(params))}
	taken := make(map[string]bool, len(params))
	for i := range params {
		taken[params[i].Name] = true
	}
	used := make(map[string]bool, len(params))
	for i := range params {
		p.Captures[i] = l.one(&params[i], at[i], function, d)
		p.Captures[i].Name = uniqueName(params[i].Name, i, taken, used)
	}
	return p
}

// place finds the place of each capture in the root chunk: first the registers,
// then the part of the stack that the others lie in.
func (p *Part) place(at []assignment) {
	start := int64(-1) // of the part of the stack
	for i := range p.Captures {
		if !at[i].registers && p.Captures[i].Node.Extent() > 0 && (start < 0 || at[i].offset < start) {
			start = at[i].offset &^ (wordSize - 1)
		}
	}
	for i := range p.Captures {
		node := p.Captures[i].Node
		ranges := node.ranges()
		switch {
		case len(ranges) == 0:
		case at[i].registers:
			p.Captures[i].Offset = uint32(at[i].integer) * wordSize
			for _, r := range ranges {
				for word := r.start / wordSize; word*wordSize < r.end; word++ {
					p.Registers |= 1 << (uint32(at[i].integer) + word)
				}
			}
		default:
			if at[i].offset+int64(ranges[len(ranges)-1].end)-start > chunkMax-registersMax*wordSize {
				p.Captures[i].Node = none("it lies beyond the first arguments on the stack")
			}
		}
	}
	words := uint32(bits.Len16(p.Registers))
	p.Size = words * wordSize
	if start < 0 {
		return
	}
	p.Stack = int32(start) - int32(p.Size)
	for i := range p.Captures {
		if !at[i].registers && p.Captures[i].Node.Extent() > 0 {
			p.Captures[i].Offset = words*wordSize + uint32(at[i].offset-start)
			p.Captures[i].onStack = true
			p.Captures[i].stack = int32(at[i].offset)
			p.Size = max(p.Size, p.Captures[i].Offset+p.Captures[i].Node.Extent())
		}
	}
	p.Size = (p.Size + wordSize - 1) &^ (wordSize - 1)
}

// compile makes the steps of a part: what the root chunk leads to, behind what of
// it lies on the stack.
func (p *Part) compile(c *compiler) {
	var read, never []span
	var steps []Step
	for i := range p.Captures {
		if p.Captures[i].onStack {
			p.Captures[i].Node.collect(p.Captures[i].Offset, &read, &never)
		}
	}
	slices.SortFunc(read, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	if p.Explicit { // what lies between was not asked for
		for i := 1; i < len(read); i++ {
			never = append(never, span{read[i-1].end, read[i].start})
		}
	}
	for _, r := range merge(read, never) {
		steps = append(steps, Step{Op: ReadRange, Offset: r.start, Size: r.end - r.start})
	}
	for _, i := range p.Order() {
		steps = append(steps, c.follow(p.Captures[i].Node, p.Captures[i].Offset)...)
	}
	p.Program = c.add(steps)
}

// uniqueName is a parameter's key: its name, or its index where it has none or
// another one has it already.
func uniqueName(name string, i int, taken, used map[string]bool) string {
	if name == "" || name == "_" || used[name] {
		name = strconv.Itoa(i)
		for used[name] || taken[name] {
			name = "_" + name
		}
	}
	used[name] = true
	return name
}

// one says how one value is read; d is nil where nothing tells the types of a call.
func (l *layouter) one(p *gobin.Param, at assignment, function string, d *dictionaryArgument) Capture {
	c := Capture{}
	name := p.Name
	if name == "_" {
		name = ""
	}
	if p.Type != nil {
		c.Type = p.Type.Name
	}
	what := inMemory
	if at.registers {
		what = inRegisters
	}
	switch {
	case l.secrets.secret(name, p.Type, function):
		c.Node = &Node{Kind: Redacted}
	case p.Type != nil && p.Type.Kind != gobin.Invalid && at.unknown:
		c.Node = none("its place is not known: a type before it cannot be read")
	default:
		c.Node = l.of(p.Type, l.depth, what)
		if d != nil && p.DictionaryWord > 0 {
			c.Node = l.shape(c.Node, p, what, d)
		}
	}
	return c
}
