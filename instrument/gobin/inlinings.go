package gobin

import (
	"encoding/binary"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
)

// Inlinings counts the calls that were compiled into their callers, by the raw name
// of the function that was called: each copy that has left code in the executable is
// one. It reads the inlining tree of every function, on all processors.
func (f *File) Inlinings() map[string]int {
	var next atomic.Int64
	var workers sync.WaitGroup
	var mu sync.Mutex
	all := make(map[uint32]int) // by the offset of the name
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			counts := make(map[uint32]int)
			const batch = 256
			for {
				from := int(next.Add(batch)) - batch
				if from >= len(f.funcs) {
					break
				}
				for i := from; i < min(from+batch, len(f.funcs)); i++ {
					for name := range f.inlinedInto(&f.funcs[i]) {
						counts[name]++
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for name, n := range counts {
				all[name] += n
			}
		})
	}
	workers.Wait()
	named := make(map[string]int, len(all))
	for offset, n := range all {
		if name, err := f.nameAt(offset); err == nil {
			named[name] += n
		}
	}
	return named
}

// Copies are the calls of a function that were compiled into their callers: how many
// there are, and the functions whose code they are in, ascending by entry.
type Copies struct {
	Calls int
	In    []*Function
}

// Copies finds those of the functions that are asked for by raw name.
func (f *File) Copies(asked func(symbol string) bool) map[string]*Copies {
	all := make(map[string]*Copies)
	names := make(map[uint32]string) // by offset; empty for those that are not asked for
	for i := range f.funcs {
		fn := &f.funcs[i]
		for offset := range f.inlinedInto(fn) {
			name, known := names[offset]
			if !known {
				if text, err := f.nameAt(offset); err == nil && asked(text) {
					name = text
				}
				names[offset] = name
			}
			if name == "" {
				continue
			}
			c := all[name]
			if c == nil {
				c = &Copies{}
				all[name] = c
			}
			if c.Calls++; len(c.In) == 0 || c.In[len(c.In)-1] != fn {
				c.In = append(c.In, fn)
			}
		}
	}
	return all
}

// inlinedInto yields the offset of the name of each call that is inlined into a
// function. Of what is damaged there is none.
func (f *File) inlinedInto(fn *Function) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		r, err := f.record(fn)
		if err != nil {
			return
		}
		tree, err := f.inlineTree(fn, &r)
		if err != nil {
			return
		}
		last := int32(-1)
		for _, run := range tree.runs {
			last = max(last, run.value)
		}
		size, name := f.inlinedCallSize()
		p, err := f.view(tree.addr, uint64(last+1)*size)
		if err != nil {
			return
		}
		for ; len(p) > 0; p = p[size:] {
			if !yield(binary.LittleEndian.Uint32(p[name:])) {
				return
			}
		}
	}
}

// inlinedCallSize is the size of a runtime.inlinedCall, and where in it the offset of
// the name is.
func (f *File) inlinedCallSize() (size uint64, name int) {
	if f.table.hasLine() {
		return 16, 4
	}
	return 20, 12
}

// CountCalls counts the direct calls of functions, whose entries are the keys of
// calls, in the code of all others.
func (f *File) CountCalls(calls map[uint64]int) {
	if len(calls) == 0 || len(f.funcs) == 0 {
		return
	}
	const chunk = 1 << 20
	memory := make([]byte, chunk+4)
	for at, end := f.funcs[0].Entry, f.funcs[len(f.funcs)-1].End; at < end; at += chunk {
		// Instructions do not end with the chunk: it overlaps the next.
		code := memory[:min(chunk+4, end-at)]
		if f.ReadAddr(code, at) != nil {
			return
		}
		if f.Arch == ARM64 {
			for i := 0; i+4 <= min(len(code), chunk); i += 4 {
				if word := f.elf.ByteOrder.Uint32(code[i:]); word>>26 == 0x25 {
					count(calls, at+uint64(i)+uint64(int64(int32(word<<6)>>4)))
				}
			}
			continue
		}
		for i := range relativeCalls(code) {
			count(calls, at+uint64(i)+5+uint64(int64(int32(binary.LittleEndian.Uint32(code[i+1:])))))
		}
	}
}

func count(calls map[uint64]int, target uint64) {
	if n, ok := calls[target]; ok {
		calls[target] = n + 1
	}
}

// InlinedFunction is a function that is in the executable only where it was inlined:
// it has names, and no code.
func InlinedFunction(symbol string) Function {
	return Function{Symbol: symbol, Name: printName(symbol), Package: packagePath(symbol)}
}
