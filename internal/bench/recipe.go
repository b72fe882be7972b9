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
	entry, returns, err := firstAndReturns(t.path, t.function)
	if err != nil {
		return nil, err
	}
	p, err := loadProbes()
	if err != nil {
		return nil, err
	}
	err = p.attach(t, p.objects.End, returns, make([]uint64, len(returns)))
	if err == nil {
		err = p.attach(t, p.objects.Begin, []uint64{entry}, []uint64{0})
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return recipeProbes{probes: p}, nil
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
