package plan

import (
	"fmt"

	"github.com/uspan/uspan/instrument/gobin"
)

// An ErrorPlace is where an error is, two words: in integer result registers from
// Register on, or where that is negative on the stack, Stack bytes from the return
// address on.
type ErrorPlace struct {
	Register int
	Stack    int32
}

// failure finds the last result of a function, where that is an error.
func (b *builder) failure(out *Function, read description) error {
	sig, err := b.signature(out, read)
	if err != nil || sig == nil {
		return err
	}
	_, results, _ := b.arch.assign(sig, isMethod(&out.Function), out.Assembly)
	last := len(results) - 1
	switch {
	case last < 0 || sig.Results[last].Type == nil || !sig.Results[last].Type.Error:
	case results[last].unknown:
		out.Unvalued = "the place of the error is not known: a type before it cannot be read"
	case results[last].registers:
		out.Error = &ErrorPlace{Register: results[last].integer}
	default:
		out.Error = &ErrorPlace{Register: -1, Stack: int32(results[last].offset)}
	}
	return nil
}

// errorString finds the type of io.EOF, where a function may return it.
func (p *Plan) errorString(f *gobin.File) {
	returned := false
	for i := range p.Functions {
		returned = returned || p.Functions[i].Error != nil
	}
	if !returned {
		return
	}
	types, err := f.RuntimeTypes()
	if err != nil {
		return // io.EOF counts as an error, then
	}
	for i := range types {
		if types[i].Name == "*errors.errorString" {
			p.ErrorString = types[i].Addr
			return
		}
	}
}

// read is where an error is, for people.
func (e *ErrorPlace) read(arch *architecture) string {
	if e.Register < 0 {
		return fmt.Sprintf("stack%+d", e.Stack)
	}
	return arch.register(e.Register) + ", " + arch.register(e.Register+1)
}
