package span

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uspan/uspan/instrument/plan"
)

// Marks of slots that hold no entry: runtime.minTopHash, and the high bit of a
// control byte (internal/runtime/maps). As in bpf/values.h.
const (
	minTopHash  = 5
	controlFree = 0x80
)

// mapping is the entries of a map as far as they were read.
func (d *decoder) mapping(m *plan.MapLayout, addr uint64, from source) (any, string) {
	header, from, why := d.follow(addr, uint64(m.Size), from)
	if why != "" {
		return nil, why
	}
	if uint32(len(header)) < m.Size {
		return nil, fault
	}
	entries := Map{}
	groups := func(addr, n uint64, from source) string {
		memory, next, why := d.follow(addr, n*uint64(m.Group.Size), from)
		if why == "" {
			entries = d.groups(m.Group, memory, next, entries)
		}
		return why
	}
	limit := uint64(m.Limit)
	switch dir := word(header, m.Dir); {
	case !m.Swiss:
		log2 := header[m.Log2] & 63
		if buckets := word(header, m.Buckets); buckets != 0 {
			why = groups(buckets, min(1<<log2, limit), from)
		}
		if old := word(header, m.Old); old != 0 {
			if problem := groups(old, min(1<<max(log2, 1)/2, limit), from); why == "" {
				why = problem
			}
		}
	case dir == 0:
	case word(header, m.DirLen) == 0:
		why = groups(dir, 1, from)
	default:
		why = d.table(m, dir, from, groups)
	}
	all := word(header, 0)
	if why != "" && len(entries) == 0 && all > 0 {
		return nil, why
	}
	slices.SortFunc(entries, compareKeys)
	entries = entries[:min(len(entries), int(m.Entries))]
	if uint64(len(entries)) < all {
		return entries, fmt.Sprintf("%d of %d", len(entries), all)
	}
	return entries, ""
}

// entry is that of a map with one key, where it was read.
func (d *decoder) entry(n *plan.Node, addr uint64, from source) (any, string) {
	value, note := d.mapping(n.Map, addr, from)
	entries, ok := value.(Map)
	if !ok {
		return nil, note
	}
	name := keyName(n.Key, "")
	for _, e := range entries {
		if e.Name == name {
			return only(e)
		}
	}
	if note != "" {
		return nil, "it is not among the entries that were read: " + note
	}
	return nil, "the map has no such entry"
}

// table goes by the directory of a large map to its first table.
func (d *decoder) table(m *plan.MapLayout, dir uint64, from source, groups func(addr, n uint64, from source) string) string {
	directory, from, why := d.follow(dir, 8, from)
	if why != "" {
		return why
	}
	addr := word(directory, 0)
	if addr == 0 {
		return ""
	}
	table, from, why := d.follow(addr, uint64(m.TableSize), from)
	if why != "" {
		return why
	}
	data, n := word(table, m.Groups), word(table, m.Groups+8)+1
	if data != 0 && n != 0 {
		return groups(data, min(n, uint64(m.Limit)), from)
	}
	return ""
}

// groups adds the entries of groups that lie behind each other.
func (d *decoder) groups(g *plan.Group, memory []byte, from source, entries Map) Map {
	for ; uint32(len(memory)) >= g.Size && g.Size > 0; memory = memory[g.Size:] {
		for i := range uint32(plan.Slots) {
			control := memory[g.Control+i]
			if g.Swiss && control&controlFree != 0 || !g.Swiss && control < minTopHash {
				continue
			}
			d.secret = false
			key, note := d.value(g.Key, memory[g.Keys+i*g.KeyStride:], from)
			v := Value{Name: keyName(key, note)}
			if g.Judged() && (d.secret || from == file) {
				v.Note = isRedacted
			} else {
				v.Value, v.Note = d.value(g.Elem, memory[g.Elems+i*g.ElemStride:], from)
			}
			entries = append(entries, v)
		}
	}
	return entries
}

// keyName is a key as Go would write it to select the entry.
func keyName(key any, note string) string {
	switch key := key.(type) {
	case string:
		if note != "" {
			return "[" + strconv.Quote(key) + "…]"
		}
		return "[" + strconv.Quote(key) + "]"
	case nil:
		return "[?]"
	case Struct, List, Map:
		return "[{" + describe(Value{Value: key}) + "}]"
	}
	return "[" + describe(Value{Value: key}) + "]"
}

// compareKeys orders entries by their names, numbers by their size.
func compareKeys(a, b Value) int {
	return cmp.Or(cmp.Compare(len(trimNumber(a.Name)), len(trimNumber(b.Name))), cmp.Compare(a.Name, b.Name))
}

// trimNumber is the name of an entry if its key is a number without a sign, so
// that longer ones are larger; else nothing.
func trimNumber(name string) string {
	if len(name) > 2 && name[1] >= '0' && name[1] <= '9' {
		return name
	}
	return ""
}

// describe is a value as text, for keys of maps.
func describe(v Value) string {
	var parts []Value
	switch value := v.Value.(type) {
	case string:
		return strconv.Quote(value)
	case nil:
		return "?"
	case Struct:
		parts = value
	case List:
		parts = value
	case Map:
		parts = value
	case Dynamic:
		return describe(value.Value)
	default:
		return fmt.Sprint(value)
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = describe(part)
	}
	return strings.Join(texts, " ")
}
