package gobin

import (
	"debug/dwarf"
	"errors"
	"fmt"
)

// A RuntimeType is a type that has data at run time, so that interfaces can hold
// values of it.
type RuntimeType struct {
	// Addr is the link time address of its abi.Type.
	Addr uint64
	// Name is the type as DWARF has it: with full import paths.
	Name string

	offset dwarf.Offset
	data   bool // it is of the runtime's data, not of DWARF
}

// RuntimeTypes lists the types that interfaces can hold values of, as far as
// DWARF knows them; where there is none, as the runtime's own data has them. The
// linker puts all types into one unit, that of the runtime
// (cmd/link/internal/ld/dwarf.go).
func (f *File) RuntimeTypes() ([]RuntimeType, error) {
	d, err := f.dwarf()
	if errors.Is(err, ErrNoDWARF) {
		return f.typesOfRuntime()
	}
	if err != nil {
		return nil, err
	}
	m, err := f.module.load(func() (moduledata, error) { return f.findModule(f.table.addr) })
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	if m.types.start == 0 {
		return nil, fmt.Errorf("list the types: where %s keeps them is not known", f.GoVersion)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var types []RuntimeType
	unit, err := d.unitOfTypes(f)
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	e, r, err := d.entry(unit)
	if err != nil {
		return nil, err
	}
	err = children(e, r, func(child *dwarf.Entry) error {
		at := runtimeOffset(child)
		name, _ := child.Val(dwarf.AttrName).(string)
		if at == 0 || name == "" {
			return nil
		}
		if len(types) == maxTypes {
			return errors.New("there are too many")
		}
		// An offset since Go 1.8 or so; an address where the linker wrote one.
		addr := at
		if addr < m.types.start {
			addr += m.types.start
		}
		if m.types.contains(addr) {
			types = append(types, RuntimeType{Addr: addr, Name: name, offset: child.Offset})
		}
		return nil
	})
	return types, err
}

func runtimeOffset(e *dwarf.Entry) uint64 {
	switch v := e.Val(attrGoRuntime).(type) {
	case uint64:
		return v
	case int64:
		return uint64(v)
	}
	return 0
}

// typesOfRuntime are RuntimeTypes without DWARF.
func (f *File) typesOfRuntime() ([]RuntimeType, error) {
	d, err := f.types.load(f.readTypeData)
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	types, err := d.all()
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	return types, nil
}

// Type reads a type out of RuntimeTypes.
func (f *File) Type(rt RuntimeType) (*Type, error) {
	if rt.data {
		d, err := f.types.load(f.readTypeData)
		if err != nil {
			return nil, err
		}
		return d.read(rt.Addr)
	}
	d, err := f.dwarf()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.readType(rt.offset)
}

// unitOfTypes finds the unit that has the type of a parameter of the runtime's.
func (d *debugInfo) unitOfTypes(f *File) (dwarf.Offset, error) {
	for i := range f.funcs {
		if f.funcs[i].Symbol != "runtime.casgstatus" {
			continue
		}
		params, err := d.parameters(f.funcs[i].Entry)
		if err != nil {
			return 0, err
		}
		if len(params) == 0 {
			break
		}
		for _, u := range d.units {
			if u.root <= params[0].typ && params[0].typ < u.end {
				return u.root, nil
			}
		}
	}
	return 0, errors.New("DWARF does not describe runtime.casgstatus")
}
