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
	var entries entries
	groups := func(addr, n uint64, from source) string {
		return d.groups(m.Group, addr, n, from, &entries)
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
	return entries.shown(int(m.Entries), word(header, 0), why)
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

// entries are those of a map that were read; why is the reason for keys that are not
// among them, or not whole.
type entries struct {
	list Map
	why  string
}

// groups adds the entries of n groups that lie behind each other, as far as these
// were read.
func (d *decoder) groups(g *plan.Group, addr, n uint64, from source, entries *entries) (why string) {
	head := g.Head()
	size := n * uint64(head)
	if from == file {
		size = n * uint64(g.Size)
	}
	memory, from, why := d.follow(addr, size, from)
	if why != "" {
		return why
	}
	if from == file {
		head = g.Size
	}
	for ; n > 0; n, addr, memory = n-1, addr+uint64(g.Size), after(memory, head) {
		if uint32(len(memory)) < head {
			return d.short(from)
		}
		for i := range uint32(plan.Slots) {
			control := memory[g.Control+i]
			if g.Swiss && control&controlFree != 0 || !g.Swiss && control < minTopHash {
				continue
			}
			d.slot(g, i, memory, addr, from, entries)
		}
	}
	return ""
}

// slot adds the entry of a slot of a group.
func (d *decoder) slot(g *plan.Group, i uint32, memory []byte, addr uint64, from source, entries *entries) {
	part := func(n *plan.Node, at, size uint32) (any, string) {
		if !g.Apart {
			return d.value(n, memory[at:], from)
		}
		if size == 0 {
			return d.value(n, nil, from)
		}
		memory, next, why := d.follow(addr+uint64(at), uint64(size), from)
		if why != "" {
			return nil, why
		}
		return d.value(n, memory, next)
	}
	key, note := part(g.Key, g.Keys+i*g.KeyStride, g.KeyBytes)
	v := Value{}
	if v.Value, v.Note = part(g.Elem, g.Elems+i*g.ElemStride, g.ElemBytes); g.Judged && from == file {
		v.Value, v.Note = nil, isRedacted
	}
	if why := unknown(Value{Value: key, Note: note}); why != "" {
		entries.why = why
		if key == nil {
			return
		}
	}
	v.Name = keyName(key, note)
	entries.list = append(entries.list, v)
}

// unknown is why a part of a key is not known; empty where all is.
func unknown(v Value) string {
	var parts []Value
	switch value := v.Value.(type) {
	case nil:
		if v.Note != isNil {
			return v.Note
		}
	case Struct:
		parts = value
	case List:
		parts = value
	case Dynamic:
		return unknown(value.Value)
	}
	for _, part := range parts {
		if why := unknown(part); why != "" {
			return why
		}
	}
	return ""
}

// shown are the first entries in the order of their keys, and what is missing of
// all, of which some have not been read.
func (e *entries) shown(limit int, all uint64, why string) (any, string) {
	list := e.list
	if why == "" {
		why = e.why
	}
	if why != "" && len(list) == 0 && all > 0 {
		return nil, why
	}
	slices.SortStableFunc(list, compareKeys)
	list = list[:min(len(list), limit)]
	tell(list)
	if uint64(len(list)) >= all && why == "" {
		return list, ""
	}
	note := fmt.Sprintf("%d of %d", len(list), all)
	if why != "" && len(list) < limit {
		note += ": " + why
	}
	return list, note
}

// tell tells entries apart whose keys are shown alike: NaN, and times that differ in
// what is not shown of them.
func tell(list Map) {
	for i := 0; i < len(list); {
		n := 1
		for ; i+n < len(list) && list[i+n].Name == list[i].Name; n++ {
			list[i+n].Name = fmt.Sprintf("%s #%d]", strings.TrimSuffix(list[i].Name, "]"), n+1)
		}
		i += n
	}
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
		return "[nil]"
	case Dynamic:
		return keyName(key.Value.Value, key.Note)
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
	case []string:
		return fmt.Sprintf("%q", value)
	case nil:
		if v.Note == isNil {
			return isNil
		}
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
