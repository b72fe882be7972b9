package main

import (
	"errors"
	"fmt"

	"github.com/uspan/uspan/instrument/gobin"
)

// recipeProbes measure latencies the usual way.
type recipeProbes struct {
	nothing
	*probes
}

func attachRecipe(t *target) (tracer, error) {
	p, err := loadProbes(false)
	if err != nil {
		return nil, err
	}
	if err := p.attachRecipe(t.path, t.function); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return recipeProbes{probes: p}, nil
}

// attachRecipe puts the recipe's programs on a function.
func (p *probes) attachRecipe(path, function string) error {
	entry, returns, err := firstAndReturns(path, function)
	if err != nil {
		return err
	}
	if err := p.attach(path, p.objects.End, returns, make([]uint64, len(returns))); err != nil {
		return err
	}
	return p.attach(path, p.objects.Begin, []uint64{entry}, []uint64{0})
}

// firstAndReturns are the file offsets of a function's first instruction and
// of its RETs.
func firstAndReturns(path, function string) (entry uint64, returns []uint64, err error) {
	file, err := gobin.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	for _, fn := range file.Functions() {
		if fn.Name != function {
			continue
		}
		body, err := file.Body(&fn)
		if err != nil {
			return 0, nil, err
		}
		for n, in := range body.Instructions {
			offset, ok := file.Offset(in.Addr)
			switch {
			case !ok:
				return 0, nil, fmt.Errorf("%s is not in the file", function)
			case n == 0:
				entry = offset
			case in.Kind == gobin.Return:
				returns = append(returns, offset)
			}
		}
		return entry, returns, nil
	}
	return 0, nil, fmt.Errorf("%s: no function %s", path, function)
}

func (r recipeProbes) Close() (tally, error) {
	var histogram [64]uint64
	counted := tally{known: true, exact: true}
	err := errors.Join(r.objects.Histogram.Get(&histogram), r.objects.Unpaired.Get(&counted.lost))
	for _, n := range histogram {
		counted.seen += n
	}
	return counted, errors.Join(err, r.close())
}
