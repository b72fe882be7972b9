package gobin

import (
	"debug/dwarf"
	"fmt"
	"slices"
	"strings"
)

// Signature reads the parameters and results of fn from DWARF. Its error wraps
// ErrNoDWARF where the file has none.
//
// The compiler lists parameters in the order of the declaration, results behind
// them (cmd/compile/internal/dwarfgen/dwarf.go). Go 1.21 leaves out parameters
// and receivers that are unnamed or blank: what is behind one is then not where
// its place in the list says. ArgsSize tells: laid out by ABIInternal, the
// parameters must fill the argument area exactly. (They do not either in the few
// Go functions of the runtime that follow ABI0, as assembly calls them.)
func (f *File) Signature(fn *Function) (*Signature, error) {
	d, err := f.dwarf()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.signature(fn)
	if err != nil {
		return nil, fmt.Errorf("read the signature of %s: %w", fn.Symbol, err)
	}
	s.DictionaryFirst = s.Dictionary && f.dictionaryFirst()
	return s, nil
}

// dictionaryFirst says that dictionaries are passed before receivers
// (cmd/compile/internal/noder/stencil.go, until the unified IR came).
func (f *File) dictionaryFirst() bool { return f.minor < 20 }

// A Dictionary says whether a function takes a dictionary: Signature.Dictionary,
// where there is no DWARF to ask.
type Dictionary uint8

// What a function's name says.
const (
	NoDictionary Dictionary = iota
	// PerhapsDictionary: before Go 1.21 the function table has `F[...]` for all
	// instances.
	PerhapsDictionary
	TakesDictionary
)

// Dictionary says by its name whether a function takes a dictionary, and whether
// that is passed before a receiver.
func (f *File) Dictionary(fn *Function) (takes Dictionary, first bool) {
	switch {
	case takesDictionary(fn.Symbol):
		takes = TakesDictionary
	case takesDictionary(strings.Replace(fn.Symbol, "[...]", "[go.shape.int]", 1)):
		takes = PerhapsDictionary
	}
	return takes, takes != NoDictionary && f.dictionaryFirst()
}

func (d *debugInfo) signature(fn *Function) (*Signature, error) {
	params, err := d.parameters(fn.Entry)
	if err != nil {
		return nil, err
	}
	s := &Signature{Dictionary: takesDictionary(fn.Symbol)}
	// Before Go 1.21 the function table has `F[...]` for `F[go.shape.int]`.
	if strings.Contains(fn.Symbol, "[...]") {
		name, err := d.functionName(fn.Entry)
		if err != nil {
			return nil, err
		}
		s.Dictionary = takesDictionary(name)
	}
	for _, listed := range params {
		if listed.name == ".dict" {
			s.Dictionary = true
			continue
		}
		t, err := d.readType(listed.typ)
		if err != nil {
			return nil, fmt.Errorf("parameter %q: %w", listed.name, err)
		}
		p := Param{Name: parameterName(listed.name), Type: t}
		if s.Dictionary {
			if p.DictionaryWord, err = d.dictionaryWord(listed.typ); err != nil {
				return nil, fmt.Errorf("parameter %q: %w", listed.name, err)
			}
		}
		if listed.result {
			s.Results = append(s.Results, p)
		} else {
			s.Params = append(s.Params, p)
		}
	}
	return s, nil
}

// dictionaryWord is that of the type at an offset: see Param.
func (d *debugInfo) dictionaryWord(typ dwarf.Offset) (int, error) {
	e, err := d.only(typ)
	if err != nil {
		return 0, err
	}
	index, ok := e.Val(attrGoDict).(int64)
	if !ok || e.Tag != dwarf.TagTypedef || index < 0 || index >= maxDictionarySize/8 {
		return 0, nil
	}
	return int(index) + 1, nil
}

// parameters returns the parameters and results of the function that begins at
// addr. Where the compiler can also inline the function, they have most attributes
// in the abstract function, but that one lists the named ones only.
func (d *debugInfo) parameters(addr uint64) ([]parameter, error) {
	s, err := d.subprogram(addr)
	if err != nil {
		return nil, err
	}
	params := make([]parameter, 0, len(s.params))
	for _, at := range s.params {
		e, err := d.only(at)
		if err != nil {
			return nil, err
		}
		if origin, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
			if e, err = d.only(origin); err != nil {
				return nil, err
			}
		}
		p := parameter{}
		p.name, _ = e.Val(dwarf.AttrName).(string)
		p.result, _ = e.Val(dwarf.AttrVarParam).(bool)
		var ok bool
		if p.typ, ok = e.Val(dwarf.AttrType).(dwarf.Offset); !ok {
			return nil, fmt.Errorf("parameter %q has no type", p.name)
		}
		// A variable that the compiler took apart is listed once a part.
		if p.name != "_" && slices.ContainsFunc(params, func(q parameter) bool { return q.name == p.name }) {
			continue
		}
		if len(params) == maxParams {
			return nil, fmt.Errorf("it has more than %d parameters", maxParams)
		}
		params = append(params, p)
	}
	return params, nil
}

// functionName is the name of the function that begins at addr, as DWARF has it.
func (d *debugInfo) functionName(addr uint64) (string, error) {
	s, err := d.subprogram(addr)
	if err != nil {
		return "", err
	}
	e, err := d.only(s.at)
	if err != nil {
		return "", err
	}
	if origin, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
		if e, err = d.only(origin); err != nil {
			return "", err
		}
	}
	name, _ := e.Val(dwarf.AttrName).(string)
	return name, nil
}

// A parameter is a parameter or a result as DWARF has it.
type parameter struct {
	name   string
	typ    dwarf.Offset
	result bool
}

// parameterName drops the names that the compiler gives: `~r0`, `~p1`, `~b2`.
func parameterName(name string) string {
	if name == "_" || strings.HasPrefix(name, "~") || strings.HasPrefix(name, ".") {
		return ""
	}
	return strings.TrimPrefix(name, "&")
}

// takesDictionary says whether a symbol is that of a generic function or method
// compiled for shapes of types, which takes a dictionary. A closure in one has
// the dictionary among its variables instead.
func takesDictionary(symbol string) bool {
	open := strings.IndexByte(symbol, '[')
	end := strings.LastIndexByte(symbol, ']')
	if open < 0 || end < open || strings.HasPrefix(symbol, "type:") || !strings.Contains(symbol[open:end], "go.shape.") {
		return false
	}
	rest := symbol[end+1:]
	if method, ok := strings.CutPrefix(rest, ")."); ok {
		return !strings.ContainsAny(method, ".-")
	}
	method, ok := strings.CutPrefix(rest, ".")
	return !ok && rest == "" || ok && !strings.ContainsAny(method, ".-") && !isClosure(method)
}

// isClosure says whether the last part of a symbol is a name that the compiler
// gives to a closure: func1, gowrap2, deferwrap3.
func isClosure(name string) bool {
	for _, prefix := range []string{"func", "gowrap", "deferwrap"} {
		if n, ok := strings.CutPrefix(name, prefix); ok && n != "" && strings.Trim(n, "0123456789") == "" {
			return true
		}
	}
	return false
}
