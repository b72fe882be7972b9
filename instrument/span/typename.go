package span

import "github.com/uspan/uspan/instrument/gobin"

// typeNames remembers the names of dynamic types.
type typeNames struct {
	file  *gobin.File
	names map[uint64]string
}

// name is the name of the type whose runtime data is at a link time address.
// One that was made by reflection is not in the executable.
func (t *typeNames) name(addr uint64) string {
	name, ok := t.names[addr]
	if !ok {
		var err error
		if name, err = t.file.TypeName(addr); err != nil {
			name = "unknown"
		}
		t.names[addr] = name
	}
	return name
}
