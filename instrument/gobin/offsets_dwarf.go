package gobin

import (
	"debug/dwarf"
	"errors"
	"fmt"
)

// offsetsFromDWARF finds runtime.g and runtime.m in the DWARF of the file:
// runtime.casgstatus has a parameter of type *g, and g has a field of type *m.
func (f *File) offsetsFromDWARF() (Offsets, error) {
	d, err := f.dwarf()
	if err != nil {
		return Offsets{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range f.funcs {
		if f.funcs[i].Symbol == "runtime.casgstatus" {
			return d.offsets(f.funcs[i].Entry)
		}
	}
	return Offsets{}, errors.New("no function runtime.casgstatus")
}

func (d *debugInfo) offsets(casgstatus uint64) (Offsets, error) {
	params, _, err := d.parameters(casgstatus)
	if err != nil {
		return Offsets{}, err
	}
	if len(params) == 0 {
		return Offsets{}, errors.New("runtime.casgstatus has no parameter in DWARF")
	}
	records := make(map[string]map[string]member)
	if records["g"], err = d.members(params[0].typ); err != nil {
		return Offsets{}, fmt.Errorf("runtime.g: %w", err)
	}
	if records["m"], err = d.members(records["g"]["m"].typ); err != nil {
		return Offsets{}, fmt.Errorf("runtime.m: %w", err)
	}
	var o Offsets
	for _, f := range o.fields() {
		*f.offset = records[f.record][f.name].offset
	}
	if o.Goid == 0 || !o.plausible() {
		return Offsets{}, errors.New("DWARF does not describe runtime.g")
	}
	return o, nil
}

// A member is a field of a struct in DWARF.
type member struct {
	offset uint64
	typ    dwarf.Offset
}

// members reads the fields of the struct that a type is, or points to. The
// caller holds d.mu.
func (d *debugInfo) members(typ dwarf.Offset) (map[string]member, error) {
	const maxSteps, maxMembers = 8, 4096
	for range maxSteps { // pointer, typedefs, struct
		e, r, err := d.entry(typ)
		if err != nil {
			return nil, err
		}
		if e.Tag != dwarf.TagStructType {
			next, ok := e.Val(dwarf.AttrType).(dwarf.Offset)
			if !ok {
				break
			}
			typ = next
			continue
		}
		members := make(map[string]member)
		err = children(e, r, func(child *dwarf.Entry) error {
			name, _ := child.Val(dwarf.AttrName).(string)
			offset, ok := child.Val(dwarf.AttrDataMemberLoc).(int64)
			of, typed := child.Val(dwarf.AttrType).(dwarf.Offset)
			if ok && typed && offset >= 0 && len(members) < maxMembers {
				members[name] = member{uint64(offset), of}
			}
			return nil
		})
		return members, err
	}
	return nil, errors.New("it is no struct")
}
