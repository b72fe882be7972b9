package span

import (
	"fmt"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// The reasons for values that are missing, as uspan.unavailable has them.
const (
	noMemory   = "no memory for it in the kernel"
	noRoom     = "no room left in the event"
	manySteps  = "too many values before it"
	tailCall   = "the function ended by jumping into another one"
	fault      = "its memory could not be read"
	moving     = "the goroutine could not be read when the call returned"
	invalid    = "its length is not that of a Go value"
	tooDeep    = "too far behind other pointers"
	cutShort   = "what is before it could not be read"
	noSteps    = "a value of a type that was not expected"
	isNil      = "nil"
	isRedacted = "redacted"
)

// decode fills in the captured values of a call, and how it ended by them.
func decode(s *Span, f *function, process *Process, record *bpf.Record) {
	if !f.plan.Values {
		return
	}
	missing := noRoom
	if record.Flags&bpf.EventValuesLost != 0 {
		missing = noMemory
	}
	args := min(int(record.Args), len(record.Values))
	d := decoder{exe: f.exe, bias: process.Bias, chunks: record.Values[:args], missing: missing}
	if f.plan.Args.Reads() {
		_, d.arguments, _, _ = bpf.NextChunk(d.chunks)
	}
	arguments := d.arguments
	s.Args = d.part(&f.plan.Args)
	s.note("arg.", s.Args)
	if record.Kind == bpf.EventBegin || record.Reason != bpf.EndReturn && record.Reason != bpf.EndTail {
		return
	}
	switch {
	case record.Reason == bpf.EndTail:
		missing = tailCall
	case record.Flags&bpf.EventResultsLost != 0:
		missing = moving
	}
	d = decoder{exe: f.exe, bias: process.Bias, chunks: record.Values[args:], missing: missing, arguments: arguments}
	s.Results = d.part(&f.plan.Results)
	s.status(&f.plan.Results)
	s.note("ret.", s.Results)
}

// status is how the call has ended by its results: the last one, unless others
// were asked for, is no error, or it is one that is shown for this alone.
func (s *Span) status(p *plan.Part) {
	n := len(s.Results)
	if n == 0 || p.Explicit && !p.Captures[n-1].Status {
		return
	}
	if e, ok := s.Results[n-1].Value.(*Error); ok && e != nil && !e.harmless() {
		s.Error = e
	}
	if p.Explicit {
		s.Results = s.Results[:n-1]
	}
}

// note lists what is missing of values.
func (s *Span) note(prefix string, values []Value) {
	for i, v := range values {
		path := prefix + v.Name
		switch {
		case v.Note == "":
		case v.Note == isRedacted:
			s.Redacted = append(s.Redacted, path)
		case v.Value == nil:
			s.Unavailable = append(s.Unavailable, path+": "+v.Note)
		default:
			s.Truncated = append(s.Truncated, path+": "+v.Note)
		}
		switch inner := v.Value.(type) {
		case Struct:
			s.note(path+".", inner)
		case List:
			s.note(path, inner)
		case Map:
			s.note(path, inner)
		case Dynamic:
			s.note(inner.key(path), []Value{inner.Value})
		case *Error:
			if inner == nil {
				if prefix != "ret." || i < len(values)-1 { // of that one the status tells
					s.Unavailable = append(s.Unavailable, path+": "+isNil)
				}
				continue
			}
			for _, cut := range inner.Cut {
				s.Truncated = append(s.Truncated, path+cut)
			}
			s.note(inner.dynamic().key(path), []Value{inner.Value})
		}
	}
}

// A decoder turns the chunks of a part of a call into values, by the nodes that
// the chunks were read by. It goes the way that the kernel programs went
// (bpf/values.h): a chunk is taken wherever they made one.
type decoder struct {
	exe       *executable
	bias      uint64
	chunks    []byte
	missing   string // why there is nothing behind the last chunk
	arguments []byte // the root chunk of the arguments
}

// A source is where what a value leads to comes from.
type source uint8

const (
	stream  source = iota // the next chunk
	file                  // the executable, where it is read-only
	nowhere               // too deep: there are no chunks
)

func (d *decoder) part(p *plan.Part) []Value {
	values := make([]Value, len(p.Captures))
	var root []byte
	why := "" // the root chunk is missing
	if p.Reads() {
		chunk, bytes, ok := d.next()
		switch root = bytes; {
		case !ok:
			why = d.missing
		case chunk.Status == bpf.ChunkSteps:
			d.missing = manySteps
		case chunk.Status == bpf.ChunkDeep:
			d.missing = tooDeep
		case chunk.Status != bpf.ChunkOK:
			why = fault
		}
	}
	for _, i := range p.Order() {
		c := &p.Captures[i]
		v := Value{Name: c.Name}
		switch {
		case why != "" && c.Node.Kind != plan.Redacted && c.Node.Kind != plan.None:
			v.Note = why
		default:
			v.Value, v.Note = d.value(c.Node, after(root, c.Offset), stream)
		}
		values[i] = v
	}
	return values
}

func after(bytes []byte, at uint32) []byte { return bytes[min(int(at), len(bytes)):] }

// next takes a chunk, and of its bytes those that were read.
func (d *decoder) next() (chunk bpf.Chunk, bytes []byte, ok bool) {
	chunk, bytes, d.chunks, ok = bpf.NextChunk(d.chunks)
	return chunk, bytes[:min(int(chunk.Good), len(bytes))], ok
}

// short is why memory is not as long as a value.
func (d *decoder) short(from source) string {
	switch from {
	case stream:
		return d.missing
	case nowhere:
		return tooDeep
	}
	return fault
}

// follow returns the memory at an address, of which the programs read size bytes
// in elements, or why it is not there; and where to go on from it.
func (d *decoder) follow(addr, size uint64, from source) (memory []byte, next source, why string) {
	switch from {
	case nowhere:
		return nil, nowhere, tooDeep
	case file:
		if memory = d.exe.readOnly(addr-d.bias, size); memory == nil {
			return nil, file, fault
		}
		return memory, file, ""
	}
	chunk, bytes, ok := d.next()
	if !ok {
		return nil, stream, d.missing
	}
	switch chunk.Status {
	case bpf.ChunkOK:
		return bytes, stream, ""
	case bpf.ChunkSecret:
		return nil, nowhere, isRedacted
	case bpf.ChunkDeep:
		return bytes, nowhere, ""
	case bpf.ChunkInvalid:
		return nil, nowhere, invalid
	case bpf.ChunkFault:
		if chunk.Size > 0 { // read in parts, one of which failed: the end
			d.missing = cutShort
		}
		if memory = d.exe.readOnly(addr-d.bias, size); memory != nil {
			return memory, file, ""
		}
		return nil, nowhere, fault
	}
	return nil, nowhere, fmt.Sprintf("unknown status %d", chunk.Status)
}

// value is what a node says of memory that begins with the value, and what is
// missing of it.
func (d *decoder) value(n *plan.Node, memory []byte, from source) (value any, note string) {
	switch n.Kind {
	case plan.None:
		return nil, n.Reason
	case plan.Redacted:
		return nil, isRedacted
	case plan.Struct:
		return d.structure(n, memory, from)
	case plan.Shape:
		if known := d.exe.dynamics[dynamicKey{word(d.arguments, n.Dictionary) - d.bias, n.Of}]; known != nil {
			return d.value(known.Node, memory, from)
		}
		return d.value(n.Elem, memory, from)
	case plan.Array:
		return d.elements(n.Elem, memory, min(n.Limit, n.Count), uint64(n.Count), from)
	case plan.ByteArray:
		if uint32(len(memory)) < n.Limit {
			return nil, d.short(from)
		}
		return byteText(memory[:n.Limit], uint64(n.Count))
	}
	if uint32(len(memory)) < n.Size {
		return nil, d.short(from)
	}
	if value, ok := scalar(n, memory); ok {
		return value, ""
	}
	first, second := word(memory, 0), word(memory, 8)
	switch n.Kind {
	case plan.Interface, plan.Error:
		return d.dynamic(n, memory, from)
	case plan.Assert:
		return d.asserted(n, memory, from)
	case plan.String:
		if second == 0 {
			return "", ""
		}
	}
	switch {
	case n.Kind == plan.Element && second <= uint64(n.Count):
		return nil, fmt.Sprintf("index %d of %d", n.Count, second)
	case first != 0:
	case n.Kind == plan.Len:
		return int64(0), ""
	default:
		return nil, isNil
	}
	switch n.Kind {
	case plan.Address:
		return Pointer(first), ""
	case plan.String, plan.Bytes, plan.IP:
		return d.text(n, first, second, from)
	case plan.Slice:
		if second == 0 {
			return d.elements(n.Elem, nil, 0, 0, from)
		}
		limit := min(second, uint64(n.Limit))
		memory, next, why := d.follow(first, limit*uint64(n.Elem.Size), from)
		if why != "" {
			return nil, why
		}
		return d.elements(n.Elem, memory, uint32(limit), second, next)
	case plan.Map:
		return d.mapping(n.Map, first, from)
	case plan.Entry:
		return d.entry(n, first, from)
	}
	size := uint64(n.Size)
	switch n.Kind {
	case plan.Pointer, plan.Element:
		size = uint64(n.Elem.Size)
	case plan.Len:
		size = 8
	}
	memory, next, why := d.follow(first+uint64(n.Skip), size, from)
	if why != "" {
		return nil, why
	}
	switch n.Kind {
	case plan.Pointer, plan.Element:
		return d.value(n.Elem, memory, next)
	case plan.Len:
		if len(memory) < 8 {
			return nil, d.short(next)
		}
		return int64(word(memory, 0)), ""
	case plan.Chan:
		return Struct{{Name: "len", Value: int64(word(memory, 0))}, {Name: "cap", Value: int64(word(memory, 8))}}, ""
	case plan.Func:
		if name := d.exe.function(word(memory, 0) - d.bias); name != "" {
			return name, ""
		}
		return Pointer(first), ""
	}
	return nil, n.Reason
}

func (d *decoder) structure(n *plan.Node, memory []byte, from source) (any, string) {
	fields := make(Struct, 0, len(n.Fields))
	for i := range n.Fields {
		f := &n.Fields[i]
		v := Value{Name: f.Name}
		v.Value, v.Note = d.value(f.Node, after(memory, f.Offset), from)
		fields = append(fields, v)
	}
	if n.Left > 0 {
		return fields, fmt.Sprintf("%d of %d fields", len(n.Fields), len(n.Fields)+n.Left)
	}
	return fields, ""
}

// elements are those that lie behind each other, at most limit of all.
func (d *decoder) elements(n *plan.Node, memory []byte, limit uint32, all uint64, from source) (any, string) {
	list := make(List, 0, limit)
	why := ""
	for i := range limit {
		at := after(memory, i*n.Size)
		if len(at) == 0 && n.Extent() > 0 {
			why = ": " + d.short(from)
			break
		}
		v := Value{Name: fmt.Sprintf("[%d]", i)}
		v.Value, v.Note = d.value(n, at, from)
		list = append(list, v)
	}
	note := ""
	if uint64(len(list)) < all {
		note = fmt.Sprintf("%d of %d", len(list), all) + why
	}
	return list.flat(n), note
}

// dynamic is what an interface holds.
func (d *decoder) dynamic(n *plan.Node, memory []byte, from source) (any, string) {
	var none any
	if n.Kind == plan.Error {
		none = (*Error)(nil)
	}
	table := word(memory, 0)
	if table == 0 {
		if none == nil {
			return nil, isNil
		}
		return none, ""
	}
	if from != stream {
		return nil, d.short(from)
	}
	chunk, bytes, rest, ok := bpf.NextChunk(d.chunks)
	d.chunks = rest
	var v Value
	var typ uint64
	if len(bytes) >= 8 {
		typ, bytes = word(bytes, 0)-d.bias, bytes[8:max(chunk.Good, 8)]
	} else {
		v.Note = fault
		if !ok {
			v.Note = d.missing
		}
		if typ = d.held(n, table-d.bias); typ == 0 {
			return nil, v.Note
		}
	}
	if chunk.Status == bpf.ChunkFault && chunk.Size > 8 {
		d.missing = cutShort
	}
	dynamic := d.exe.dynamics[dynamicKey{typ, n.Of}]
	data := word(memory, 8)
	switch {
	case v.Note != "":
	case dynamic == nil:
		v.Note = noSteps
	case dynamic.Node.Kind == plan.None:
		v.Note = dynamic.Node.Reason
	case chunk.Status == bpf.ChunkType:
		v.Note = noSteps
	case chunk.Status == bpf.ChunkDeep:
		v.Note = tooDeep
	case dynamic.Direct:
		v.Value, v.Note = d.value(dynamic.Node, memory[8:], stream)
	case chunk.Status == bpf.ChunkFault:
		v.Note = fault
		if memory := d.exe.readOnly(data-d.bias, uint64(dynamic.Size)); memory != nil {
			v.Value, v.Note = d.value(dynamic.Node, memory, file)
		}
	default:
		v.Value, v.Note = d.value(dynamic.Node, bytes, stream)
	}
	name := d.exe.typeName(typ)
	if n.Kind == plan.Error {
		return newError(name, v)
	}
	return Dynamic{Type: name, Value: v}, ""
}

// held is the type that an interface holds by its first word, if the executable has
// what that leads to.
func (d *decoder) held(n *plan.Node, first uint64) uint64 {
	if n.Empty {
		return first
	}
	// runtime.itab: the interface, the type
	return word(d.exe.readOnly(first, 16), 8)
}

// asserted is what an interface holds, where that is of the type that was expected.
func (d *decoder) asserted(n *plan.Node, memory []byte, from source) (any, string) {
	value, note := d.dynamic(n, memory, from)
	held, ok := value.(Dynamic)
	if !ok {
		return nil, note
	}
	if held.Note == noSteps {
		return nil, "it holds a " + held.Type
	}
	return only(held.Value)
}

// only is the part of a value that was asked for: the field of a struct of one.
func only(v Value) (any, string) {
	if fields, ok := v.Value.(Struct); ok && len(fields) == 1 {
		return fields[0].Value, fields[0].Note
	}
	return nil, v.Note
}
