package gobin

import (
	"debug/dwarf"
	"errors"
	"fmt"
)

// offsetsFromDWARF finds the structs in the DWARF of the file: runtime.casgstatus
// has a parameter of type *g, and g has fields of type *m and *_panic;
// runtime.handoffp has one of type *p.
func (f *File) offsetsFromDWARF() (Offsets, error) {
	d, err := f.dwarf()
	if err != nil {
		return Offsets{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	records := make(map[string]map[string]member)
	if records["g"], err = f.membersOfParameter(d, "runtime.casgstatus"); err != nil {
		return Offsets{}, fmt.Errorf("runtime.g: %w", err)
	}
	if records["m"], err = d.members(records["g"]["m"].typ); err != nil {
		return Offsets{}, fmt.Errorf("runtime.m: %w", err)
	}
	if records["_panic"], err = d.members(records["g"]["_panic"].typ); err != nil {
		return Offsets{}, fmt.Errorf("runtime._panic: %w", err)
	}
	if records["p"], err = f.membersOfParameter(d, "runtime.handoffp"); err != nil {
		return Offsets{}, fmt.Errorf("runtime.p: %w", err)
	}
	// Before Go 1.22 _panic.sp was for runtime.Goexit only, and there was no startSP;
	// since then nothing has been handed over in sigcode0.
	if _, ok := records["_panic"]["startSP"]; ok {
		delete(records["g"], "sigcode0")
	} else {
		delete(records["_panic"], "sp")
	}
	if records["p"]["goidcacheend"].offset != records["p"]["goidcache"].offset+8 {
		delete(records["p"], "goidcache")
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

// membersOfParameter reads the fields of the struct that the first parameter of a
// function points to. The caller holds d.mu.
func (f *File) membersOfParameter(d *debugInfo, symbol string) (map[string]member, error) {
	for i := range f.funcs {
		if f.funcs[i].Symbol != symbol {
			continue
		}
		params, err := d.parameters(f.funcs[i].Entry)
		if err != nil {
			return nil, err
		}
		if len(params) == 0 {
			return nil, fmt.Errorf("%s has no parameter in DWARF", symbol)
		}
		return d.members(params[0].typ)
	}
	return nil, fmt.Errorf("no function %s", symbol)
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
