package plan

import (
	"fmt"

	"github.com/uspan/uspan/instrument/gobin"
)

// fit completes a declared signature. It has to fill the function's argument area
// exactly, which is known of most functions: another signature would show values
// that are none.
func (b *builder) fit(out *Function, d *declaredFunction, sig *gobin.Signature) error {
	area := int64(b.area(out))
	dictionary, first := b.file.Dictionary(&out.Function)
	sig.Dictionary, sig.DictionaryFirst = dictionary != gobin.NoDictionary, first
	size := b.size(out, sig)
	if size != area && dictionary == gobin.PerhapsDictionary {
		sig.Dictionary = false
		size = b.size(out, sig)
	}
	if size == area || size < 0 || area < 0 {
		return nil
	}
	method := ""
	if isMethod(&out.Function) {
		method = "; a method is declared with its receiver"
	}
	return d.text.errorf(0, "it is not the signature of %s: its arguments and results take %d bytes, these %d%s", out.Name, area, size, method)
}

// size is that of the argument area that a signature has.
func (b *builder) size(out *Function, sig *gobin.Signature) int64 {
	_, _, size := b.arch.assign(sig, isMethod(&out.Function), out.Assembly)
	return size
}

// differs says how a declared signature and that of DWARF differ, or nothing.
func differs(declared, actual *gobin.Signature) string {
	for _, part := range []struct {
		what             string
		declared, actual []gobin.Param
	}{{"parameter", declared.Params, actual.Params}, {"result", declared.Results, actual.Results}} {
		if len(part.declared) != len(part.actual) {
			return fmt.Sprintf("it has %s, not %d", count(len(part.actual), part.what), len(part.declared))
		}
		for i := range part.actual {
			d, a := &part.declared[i], &part.actual[i]
			if d.Name != a.Name && d.Name != "" && a.Name != "" {
				return fmt.Sprintf("%s %d is called %s, not %s", part.what, i+1, a.Name, d.Name)
			}
			if !alike(d.Type, a.Type, 0) {
				return fmt.Sprintf("%s %d is of type %s, not %s", part.what, i+1, a.Type.Name, d.Type.Name)
			}
		}
	}
	return ""
}

// alike says whether two types are laid out in the same way, as far as they are
// known, a few pointers deep.
func alike(a, b *gobin.Type, depth int) bool {
	const deep = 8
	if a == nil || b == nil || a == b || depth > deep || a.Kind == gobin.Invalid || b.Kind == gobin.Invalid {
		return true
	}
	if a.Kind == gobin.Struct && a.Size == 0 && depth > 0 { // declared for a pointer's sake
		return true
	}
	if a.Kind != b.Kind || a.Size != b.Size || a.Error != b.Error || a.Len != b.Len || len(a.Fields) != len(b.Fields) {
		return false
	}
	for i := range a.Fields {
		x, y := &a.Fields[i], &b.Fields[i]
		if x.Offset != y.Offset || x.Name != fieldName(y.Name) || !alike(x.Type, y.Type, depth+1) {
			return false
		}
	}
	return alike(a.Elem, b.Elem, depth+1) && alike(a.Key, b.Key, depth+1)
}
