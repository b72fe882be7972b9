package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package main -cflags "-I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu -mcpu=v3 -O2 -g -Wall -Wextra -Wpadded -Werror -Wno-unused-parameter" bench bench.bpf.c

// probes are the benchmark's own programs, and their links to one target.
type probes struct {
	objects benchObjects
	links   []link.Link
}

// loadProbes loads the programs: the recipe's keep times by process, or by thread.
func loadProbes(byProcess bool) (*probes, error) {
	spec, err := loadBench()
	if err != nil {
		return nil, err
	}
	p := &probes{}
	if err := errors.Join(spec.Variables[benchVarByProcess].Set(byProcess), spec.LoadAndAssign(&p.objects, nil)); err != nil {
		return nil, fmt.Errorf("load the BPF programs: %w", err)
	}
	return p, nil
}

// attach puts a program on offsets of an executable, as uspan does: a uprobe_multi
// link for all processes, with cookies.
func (p *probes) attach(path string, program *ebpf.Program, offsets, cookies []uint64) error {
	executable, err := link.OpenExecutable(path)
	if err != nil {
		return err
	}
	l, err := executable.UprobeMulti(nil, program, &link.UprobeMultiOptions{Addresses: offsets, Cookies: cookies})
	if err != nil {
		return fmt.Errorf("attach %s: %w", path, err)
	}
	p.links = append(p.links, l)
	return nil
}

func (p *probes) close() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, p.objects.Close())...)
}
