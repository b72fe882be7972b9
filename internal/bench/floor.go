package main

import (
	"errors"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// floorProbes do nothing where uspan's probes are.
type floorProbes struct {
	nothing
	*probes
}

func attachFloor(t *target) (tracer, error) {
	planned, err := t.plan()
	if err != nil {
		return nil, err
	}
	p, err := loadProbes(false)
	if err != nil {
		return nil, err
	}
	f := &planned.Functions[0]
	for _, sites := range [][]plan.Site{f.Exits, f.Entries} {
		var offsets, cookies []uint64
		for _, site := range sites {
			offsets = append(offsets, site.Offset)
			cookies = append(cookies, bpf.Cookie(0, 0, 0, uint64(site.Condition), site.SPOffset))
		}
		if err := p.attach(t.path, p.objects.Nothing, offsets, cookies); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return floorProbes{probes: p}, nil
}

func (f floorProbes) Close() (tally, error) { return tally{}, f.close() }
