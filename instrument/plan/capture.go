package plan

import (
	"strconv"

	"github.com/uspan/uspan/instrument/gobin"
)

// capture compiles a signature to what is read at the entry and at the exits.
// area is the size of the function's argument area (gobin.File.ArgsSize), or
// negative. Where the signature does not fill it exactly, the signature is not
// whole: Go 1.21 leaves unnamed parameters out of DWARF, and then nothing is
// where the rest says. ok is false then.
func (a *architecture) capture(fn *gobin.Function, sig *gobin.Signature, area int) (args, results []Capture, ok bool) {
	params, rets, size := a.assign(sig, isMethod(fn), fn.Assembly)
	if area >= 0 && size >= 0 && size != int64(area) {
		return nil, nil, false
	}
	args = captures(sig.Params, params, "")
	results = captures(sig.Results, rets, base(fn))
	return args, results, true
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

func captures(params []gobin.Param, at []assignment, function string) []Capture {
	out := make([]Capture, len(params))
	taken := make(map[string]bool, len(params))
	for i := range params {
		taken[params[i].Name] = true
	}
	used := make(map[string]bool, len(params))
	for i := range params {
		out[i] = captureOne(&params[i], at[i], function)
		out[i].Name = uniqueName(params[i].Name, i, taken, used)
	}
	return out
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

// captureOne says how one value is read from where it is.
func captureOne(p *gobin.Param, at assignment, function string) Capture {
	c := Capture{}
	t := p.Type
	name := p.Name
	if name == "_" {
		name = ""
	}
	if t != nil {
		c.Type = t.Name
	}
	if secret(name, t, function) {
		c.Redacted = true
		return c
	}
	kind, words, reason := kindOf(t, at)
	if reason == "" && at.unknown {
		reason = "its place is not known: a type before it cannot be read"
	}
	if reason != "" {
		c.Unavailable = reason
		return c
	}
	c.Kind = kind
	if words == 1 {
		c.Size = uint8(t.Size)
	}
	for i := range words {
		if at.registers {
			c.Words[i] = Location{Register: int8(at.integer + i)}
		} else {
			c.Words[i] = Location{Register: -1, Offset: int32(at.offset) + int32(i)*wordSize}
		}
	}
	return c
}

// kindOf is how a value of a type is captured and how many words it has, or why
// it is not.
func kindOf(t *gobin.Type, at assignment) (kind CaptureKind, words int, reason string) {
	if t == nil || t.Kind == gobin.Invalid {
		return CaptureNone, 0, "its type is not known"
	}
	switch t.Kind {
	case gobin.Bool:
		return CaptureBool, 1, ""
	case gobin.Int:
		return CaptureInt, 1, ""
	case gobin.Uint:
		return CaptureUint, 1, ""
	case gobin.Pointer:
		return CapturePointer, 1, ""
	case gobin.String:
		return CaptureString, 2, ""
	case gobin.Interface:
		if t.Error {
			return CaptureError, 2, ""
		}
		return CaptureNone, 0, "interface: not supported yet"
	case gobin.EmptyInterface:
		return CaptureNone, 0, "interface: not supported yet"
	case gobin.Float, gobin.Complex:
		what := "float"
		if t.Kind == gobin.Complex {
			what = "complex"
		}
		if at.registers {
			return CaptureNone, 0, what + " in a register"
		}
		return CaptureNone, 0, what + ": not supported yet"
	case gobin.Slice:
		return CaptureNone, 0, "slice: not supported yet"
	case gobin.Array:
		return CaptureNone, 0, "array: not supported yet"
	case gobin.Struct:
		return CaptureNone, 0, "struct: not supported yet"
	case gobin.Map:
		return CaptureNone, 0, "map: not supported yet"
	case gobin.Chan:
		return CaptureNone, 0, "channel: not supported yet"
	case gobin.Func:
		return CaptureNone, 0, "function: not supported yet"
	}
	return CaptureNone, 0, "not supported yet"
}
