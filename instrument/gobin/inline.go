package gobin

import (
	"encoding/binary"
	"errors"
)

// A Frame is one function at one place of the code, as a traceback has it.
type Frame struct {
	// Function is the name as tracebacks print it.
	Function string
	File     string
	Line     int
	// Inlined says that the function was compiled into the one of the next frame.
	Inlined bool
	// Wrapper says that the compiler made the function: a traceback leaves it out,
	// but where it has called the runtime's panic functions.
	Wrapper bool
	// Top says that nothing calls the function: it is where a stack begins.
	Top bool
	// Entry is where the code of the function begins that the address lies in; the
	// same for all frames of one address.
	Entry uint64
}

// Frames are the function that the code at addr was written in, then the function
// that that was inlined into, and so on to the one that the function table has.
// Nil where addr is in no function. For a return address, addr is the last byte
// of the call: one less. Frames works after Release, too.
func (f *File) Frames(addr uint64) []Frame {
	found, err := f.functionAt(addr)
	if err != nil {
		return nil
	}
	fn := &found
	outer := Frame{Function: fn.Name, Wrapper: fn.Wrapper, Top: fn.top, Entry: fn.Entry}
	r, err := f.record(fn)
	if err != nil {
		return []Frame{outer}
	}
	files, err := f.runs(fn, r.fileTab)
	if err != nil {
		return []Frame{outer}
	}
	lines, err := f.runs(fn, r.lineTab)
	if err != nil {
		return []Frame{outer}
	}
	position := func(frame *Frame, addr uint64) {
		index, hasFile := at(files, addr)
		line, hasLine := at(lines, addr)
		if hasFile && hasLine {
			frame.File, frame.Line = f.fileName(r.unit, index), int(line)
		}
	}
	var frames []Frame
	// What cannot be read of the tree shows as the function's own code.
	if tree, err := f.inlineTree(fn, &r); err == nil {
		for range maxInlined {
			index, ok := at(tree.runs, addr)
			if !ok || index < 0 {
				break
			}
			call, err := f.inlinedCall(&tree, index)
			if err != nil || call.parent < fn.Entry || call.parent >= fn.End {
				break
			}
			frame := Frame{Function: call.name, Inlined: true, Wrapper: call.wrapper, Entry: fn.Entry}
			position(&frame, addr)
			frames = append(frames, frame)
			addr = call.parent
		}
	}
	position(&outer, addr)
	return append(frames, outer)
}

// maxInlined bounds the functions that are inlined into each other at one place.
const maxInlined = 1 << 10

// An inlineTree is which calls were inlined into a function: runs says for each
// address which call the code comes of, and -1 for the function's own. addr is
// where the tree lies.
type inlineTree struct {
	runs  []run
	addr  uint64
	entry uint64
}

// An inlinedCall is one of an inlineTree.
type inlinedCall struct {
	name    string
	wrapper bool
	parent  uint64 // an address whose code is at the call, of the function that makes it
}

var errNoInlining = errors.New("nothing was inlined")

// inlineTree reads what is inlined into a function: runtime.inlineUnwinder
// (src/runtime/symtabinl.go).
func (f *File) inlineTree(fn *Function, r *record) (inlineTree, error) {
	if r.inlining == 0 || r.inlineTree == noFuncdata {
		return inlineTree{}, errNoInlining
	}
	m, err := f.module.load(func() (moduledata, error) { return f.findModule(f.table.addr) })
	if err != nil {
		return inlineTree{}, err
	}
	if m.funcdata == 0 {
		return inlineTree{}, errors.New("where inlining is described in " + f.GoVersion + " is not known")
	}
	runs, err := f.runs(fn, r.inlining)
	if err != nil {
		return inlineTree{}, err
	}
	return inlineTree{runs: runs, addr: m.funcdata + uint64(r.inlineTree), entry: fn.Entry}, nil
}

// inlinedCall reads a runtime.inlinedCall. Go 1.20 took the index of the parent
// and the position of the call out of it.
func (f *File) inlinedCall(tree *inlineTree, index int32) (inlinedCall, error) {
	size, name := f.inlinedCallSize()
	parent, id := 8, 0
	if !f.table.hasLine() {
		parent, id = 16, 2
	}
	p, err := f.view(tree.addr+uint64(index)*size, size)
	if err != nil {
		return inlinedCall{}, err
	}
	symbol, err := f.nameAt(binary.LittleEndian.Uint32(p[name:]))
	if err != nil {
		return inlinedCall{}, err
	}
	return inlinedCall{
		name:    printName(symbol),
		wrapper: f.wrapperID != 0 && p[id] == f.wrapperID,
		parent:  tree.entry + uint64(binary.LittleEndian.Uint32(p[parent:])),
	}, nil
}
