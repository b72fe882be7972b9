package gobin

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A TypeDictionary is what a generic function that was compiled for shapes of types
// is told of the types of a call (cmd/compile/internal/noder/reader.go; before Go
// 1.20, stencil.go): the address of one is its hidden argument.
type TypeDictionary struct {
	// Addr is its link time address.
	Addr uint64
	// Of is the function or the type that it is for, without type arguments:
	// `main.Map`, `main.List`; before Go 1.20, of methods, `main.(*List).Push`.
	Of string
	// Words are what it consists of: first the addresses of the types' runtime data.
	Words []uint64
}

// Bounds that only a damaged file passes.
const (
	maxDictionaries   = 1 << 16
	maxDictionarySize = 1 << 12 // bytes that are read
)

// Dictionaries lists the dictionaries of functions and types that are asked for by
// their names, as in TypeDictionary.Of. The symbol table tells them: where the
// executable, or its debug file, has none, there are none.
func (f *File) Dictionaries(of map[string]bool) ([]TypeDictionary, error) {
	file := f.elf
	if f.separate != nil {
		file = f.separate.elf
	}
	symbols, err := file.Symbols()
	if err != nil {
		return nil, fmt.Errorf("list the dictionaries: %w", err)
	}
	var found []TypeDictionary
	for i := range symbols {
		s := &symbols[i]
		pkg, rest, ok := strings.Cut(s.Name, "..dict.")
		if !ok || elf.ST_TYPE(s.Info) != elf.STT_OBJECT || s.Size < 8 || len(found) == maxDictionaries {
			continue
		}
		name := pkg + "." + withoutTypeArguments(rest)
		if !of[name] {
			continue
		}
		data, err := f.readAlloc(s.Value, min(s.Size, maxDictionarySize)&^7)
		if err != nil {
			continue // a symbol of a file that does not belong to it
		}
		d := TypeDictionary{Addr: s.Value, Of: name, Words: make([]uint64, len(data)/8)}
		for n := range d.Words {
			d.Words[n] = binary.LittleEndian.Uint64(data[8*n:])
		}
		found = append(found, d)
	}
	slices.SortFunc(found, func(a, b TypeDictionary) int { return int(int64(a.Addr - b.Addr)) })
	return found, f.relocateDictionaries(found)
}

// relocateDictionaries fills in words that the loader writes: see readRelocated.
func (f *File) relocateDictionaries(sorted []TypeDictionary) error {
	if !f.PIE || len(sorted) == 0 {
		return nil
	}
	relative := f.relativeRelocation()
	return f.relocations(func(r relocation) error {
		i, ok := slices.BinarySearchFunc(sorted, r.place, func(d TypeDictionary, place uint64) int { return int(int64(d.Addr - place)) })
		if !ok {
			i--
		}
		if i >= 0 && r.kind == relative {
			if n := (r.place - sorted[i].Addr) / 8; n < uint64(len(sorted[i].Words)) {
				sorted[i].Words[n] = uint64(r.addend)
			}
		}
		return nil
	})
}

// DictionaryNames are names that the dictionaries of a generic function may have,
// as in TypeDictionary.Of: one for each way to write them.
func DictionaryNames(fn *Function) []string {
	whole := withoutTypeArguments(fn.Symbol)
	names := []string{whole}
	path := strings.LastIndexByte(whole, '/') + 1
	pkg, rest, ok := strings.Cut(whole[path:], ".")
	if !ok {
		return names
	}
	if receiver, _, ok := strings.Cut(rest, "."); ok {
		receiver = strings.TrimSuffix(strings.TrimPrefix(receiver, "(*"), ")")
		names = append(names, whole[:path]+pkg+"."+receiver)
	}
	return names
}

// withoutTypeArguments cuts what is in brackets out of a symbol.
func withoutTypeArguments(symbol string) string {
	open, shut := strings.IndexByte(symbol, '['), strings.LastIndexByte(symbol, ']')
	if open < 0 || shut < open {
		return symbol
	}
	return symbol[:open] + symbol[shut+1:]
}
