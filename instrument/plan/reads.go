package plan

import "slices"

// Restarts says whether the function has a site of that kind.
func (f *Function) Restarts() bool {
	return slices.ContainsFunc(f.Entries, func(s Site) bool { return s.Restart })
}

// Reads says whether something is read of the part.
func (p *Part) Reads() bool { return p.Size > 0 }

// Room is how many bytes the captured values of the function take at most, and
// its longest chunk. What an interface leads to is not known: it has some room,
// and what does not fit is said.
func (p *Plan) Room(f *Function) (room, longest uint32) {
	for _, part := range []*Part{&f.Args, &f.Results} {
		if part.Reads() {
			room += headSize + part.Size
			longest = max(longest, part.Size)
		}
		r, l := p.programRoom(part.Program)
		room += r
		longest = max(longest, l)
	}
	return room, longest
}

// Reserve is how many bytes of an event are kept for the results when arguments are
// read: for what registers and the stack hold of them, and for an error.
func (f *Function) Reserve() uint32 {
	p := &f.Results
	if !p.Reads() {
		return 0
	}
	reserve := headSize + p.Size
	if n := len(p.Captures); n > 0 && p.Captures[n-1].Node.Kind == Error {
		reserve += headSize + wordSize + interfaceRoom
	}
	return reserve
}

// headSize is that of struct chunk (bpf/event.h).
const headSize = 8

// interfaceRoom is for the value behind an interface, in bytes.
const interfaceRoom = 384

func (p *Plan) programRoom(program Program) (room, longest uint32) {
	const enough = 1 << 16
	for _, step := range p.Steps[program.First:][:program.Count] {
		elements := step.Limit
		switch step.Op {
		case ReadRange:
			continue
		case FollowPointer, FollowPart:
			elements = 1
		case FollowInterface:
			room += headSize + wordSize + interfaceRoom
			continue
		case FollowShape:
			inner, l := p.programRoom(step.Program)
			room += max(inner, interfaceRoom)
			longest = max(longest, l)
			continue
		}
		inner, l := p.programRoom(step.Program)
		room += elements * inner
		if step.Op != EachElement {
			size := step.Size * elements
			room += headSize + (size+wordSize-1)&^(wordSize-1)
			longest = max(longest, size, l)
		}
		longest = max(longest, l)
		room = min(room, enough)
	}
	return room, longest
}
