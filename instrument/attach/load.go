package attach

import (
	"cmp"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
)

// longest is the program that the kernel's verifier takes longer for than for all
// others together.
const longest = "enter"

// load makes all maps and programs, the longest program beside the others, and fills
// the maps.
func load(spec *ebpf.CollectionSpec, fill func(map[string]*ebpf.Map) error, objects *bpf.Objects) error {
	// What programs jump to is told when there are programs.
	jumps := spec.Maps["programs"].Contents
	spec.Maps["programs"].Contents = nil
	shared, err := loadSome(spec, nil, func(string) bool { return false })
	if err != nil {
		return err
	}
	defer shared.Close()
	var one *ebpf.Collection
	failed := make(chan error)
	go func() {
		var err error
		one, err = loadSome(spec, shared.Maps, func(name string) bool { return name == longest })
		failed <- err
	}()
	all, err := loadSome(spec, shared.Maps, func(name string) bool { return name != longest })
	if err == nil {
		if err = fill(shared.Maps); err != nil {
			err = fmt.Errorf("fill the BPF maps: %w", err)
		}
	}
	err = cmp.Or(err, <-failed)
	for _, loaded := range []*ebpf.Collection{all, one} {
		if loaded != nil {
			defer loaded.Close() // but for what is taken out of it
		}
	}
	if err != nil {
		return err
	}
	all.Programs[longest] = one.DetachProgram(longest)
	for _, jump := range jumps {
		if err := all.Maps["programs"].Put(jump.Key, all.Programs[jump.Value.(string)]); err != nil {
			return err
		}
	}
	return all.Assign(objects)
}

// loadSome makes those programs, and the maps that are not there.
func loadSome(spec *ebpf.CollectionSpec, there map[string]*ebpf.Map, wanted func(program string) bool) (*ebpf.Collection, error) {
	some := spec.Copy()
	maps.DeleteFunc(some.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !wanted(name) })
	return ebpf.NewCollectionWithOptions(some, ebpf.CollectionOptions{MapReplacements: there})
}
