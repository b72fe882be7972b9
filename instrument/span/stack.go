package span

import (
	"fmt"
	"strings"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
)

// A Stack is the stack of a call at its entry: the call itself, then its callers.
// Calls with the same stack share one.
type Stack struct {
	Frames []Frame
	// Creator is the `go` statement that began the goroutine, or nil.
	Creator *Frame
	// Cut says that there are more frames, which were too many or could not be read.
	Cut bool
	// Text is the stack as Go prints one.
	Text string
}

// A Frame is one function of a Stack, and where in it the next call was made.
type Frame struct {
	Function string
	File     string
	Line     int
}

// stacks are those that calls of late have shown, by their numbers.
type stacks struct {
	read  func(number uint64) (bpf.Stack, bool)
	known map[uint64]*Stack
}

// maxStacks bounds the stacks whose names are remembered.
const maxStacks = 1 << 14

// ReadStacks makes spans have stacks, which read returns by their numbers; false
// where it has none.
func (a *Assembler) ReadStacks(read func(number uint64) (bpf.Stack, bool)) {
	a.stacks = stacks{read, make(map[uint64]*Stack)}
}

// stack gives a span its stack.
func (a *Assembler) stack(s *Span, f *function, number uint64) {
	stack, known := a.stacks.known[number]
	if !known && number != 0 {
		if raw, ok := a.stacks.read(number); ok {
			if len(a.stacks.known) >= maxStacks {
				clear(a.stacks.known)
			}
			stack = NewStack(f.exe.file, &f.span, &raw)
			a.stacks.known[number] = stack
		}
	}
	if stack == nil {
		s.Unavailable = append(s.Unavailable, "stack: no memory for it in the kernel")
		return
	}
	s.Stack = stack
	if stack.Cut {
		s.Truncated = append(s.Truncated, fmt.Sprintf("stack: its first %d frames", len(stack.Frames)))
	}
}

// foreign is the frame of code that is not Go's: C, or the kernel's vDSO.
const foreign = "[code that is not Go's]"

// NewStack finds the names of what is on a stack of the kernel's. call is the
// function that was called, whose declaration is its frame.
func NewStack(file *gobin.File, call *Function, raw *bpf.Stack) *Stack {
	s := &Stack{Cut: raw.Cut != 0}
	s.Frames = append(s.Frames, Frame{call.FullName, call.File, call.Line})
	w := walker{file: file, stack: s, callee: call.FullName}
	words := raw.Words[:min(int(raw.Length), len(raw.Words))]
	for i := 0; i < len(words); i++ {
		word := words[i]
		address := word & bpf.StackAddress
		switch {
		case word&bpf.StackCreator != 0:
			s.Creator = creator(file, address)
		case word&bpf.StackExact != 0:
			w.done = false // a stack goes on behind the bottom of another
			w.add(file.Frames(address))
			if i+2 < len(words) {
				w.interrupted(address, word&bpf.StackAtFrame != 0, words[i+1]&bpf.StackAddress, words[i+2]&bpf.StackAddress)
			}
			i += 2
		default:
			w.returns(address)
		}
	}
	// What is behind the last Go code leads nowhere.
	if last := len(s.Frames) - 1; last > 0 && s.Frames[last].Function == foreign {
		s.Frames, s.Cut = s.Frames[:last], true
	}
	s.Text = s.text()
	return s
}

// A walker adds frames to a stack.
type walker struct {
	file   *gobin.File
	stack  *Stack
	callee string // the last frame, also where it was left out
	done   bool
}

// returns adds the frames of the call that returns to an address.
func (w *walker) returns(address uint64) { w.add(w.file.Frames(address - 1)) }

// interrupted adds the caller of code that was interrupted where it had no frame
// yet, or has none: by the top words of its stack.
func (w *walker) interrupted(address uint64, atFrame bool, top, next uint64) {
	switch delta, ok := w.file.DeltaAt(address); {
	case ok && delta == 0 && (w.callee == "runtime.asyncPreempt" || w.callee == "runtime.sigpanic0"):
		// One signal came upon the other: what it returns to was interrupted, too.
		w.add(w.file.Frames(top))
		if delta, ok := w.file.DeltaAt(top); ok && delta == 0 {
			w.returns(next)
		}
	case ok && delta == 0:
		w.returns(top)
	case ok && delta == 8 && !atFrame: // between PUSHQ BP and MOVQ SP, BP
		w.returns(next)
	}
}

func (w *walker) add(frames []gobin.Frame) {
	if w.done {
		return
	}
	if len(frames) == 0 {
		if w.callee != foreign {
			w.stack.Frames = append(w.stack.Frames, Frame{Function: foreign})
		}
		w.callee = foreign
		return
	}
	for i := range frames {
		f := &frames[i]
		w.done = w.done || f.Top
		// As runtime.elideWrapperCalling has it.
		hidden := f.Wrapper && w.callee != "runtime.gopanic" && w.callee != "runtime.sigpanic" && w.callee != "runtime.panicwrap"
		w.callee = f.Function
		if !hidden && f.Function != "runtime.goexit" {
			w.stack.Frames = append(w.stack.Frames, Frame{f.Function, f.File, f.Line})
		}
	}
}

// creator is the `go` statement that returns to an address, where a traceback
// shows it: the function that has the code, and the line of the statement.
func creator(file *gobin.File, address uint64) *Frame {
	frames := file.Frames(address - 1)
	if len(frames) == 0 {
		return nil
	}
	f := Frame{frames[len(frames)-1].Function, frames[0].File, frames[0].Line}
	if rest, ok := strings.CutPrefix(f.Function, "runtime."); ok && (rest == "" || rest[0] < 'A' || rest[0] > 'Z') {
		return nil
	}
	return &f
}

// text is the stack as Go prints it, without what is of one goroutine alone.
func (s *Stack) text() string {
	var b strings.Builder
	for _, f := range s.Frames {
		b.WriteString(f.Function)
		if f.Function != foreign {
			b.WriteString("(...)")
		}
		b.WriteByte('\n')
		f.place(&b)
	}
	if s.Cut {
		b.WriteString("...additional frames elided...\n")
	}
	if s.Creator != nil {
		b.WriteString("created by " + s.Creator.Function + "\n")
		s.Creator.place(&b)
	}
	return b.String()
}

func (f *Frame) place(b *strings.Builder) {
	if f.File != "" {
		fmt.Fprintf(b, "\t%s:%d\n", f.File, f.Line)
	}
}
