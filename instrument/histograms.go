package instrument

import (
	"time"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/hist"
	"github.com/uspan/uspan/instrument/plan"
)

// Histograms is how long the calls of each function took so far, with
// Config.Histograms, in the order of the plans: from Start on, in the goroutine of
// Run, or behind it. Open and Lost are known behind Run.
func (t *Trace) Histograms() ([]hist.Histogram, error) {
	durations, err := t.session.Durations()
	if err != nil {
		return nil, err
	}
	losses, err := t.session.LostCalls()
	if err != nil {
		return nil, err
	}
	var all []hist.Histogram
	function := uint32(0)
	for _, i := range t.images {
		known := make(map[string]int) // instances of generic functions share a name
		for n := range i.plan.Functions {
			h := histogram(i, &i.plan.Functions[n], &durations[function])
			h.Open, h.Lost = t.unfinished[function], lostOf(&losses[function])
			function++
			if at, ok := known[h.Function]; ok {
				all[at].Merge(&h)
				continue
			}
			known[h.Function] = len(all)
			all = append(all, h)
		}
	}
	return all, nil
}

func histogram(i *image, f *plan.Function, counted *attach.Durations) hist.Histogram {
	h := hist.Histogram{
		Function:   f.Name,
		Executable: i.path,
		Errors:     counted.Errors,
		Panics:     counted.Panics,
		Unknown:    f.Unvalued,
		Sum:        time.Duration(counted.Sum),
		Max:        time.Duration(counted.Max),
		Unbucketed: counted.Unbucketed,
	}
	if h.Unknown == "" && !f.Declared {
		h.Unknown = i.plan.Unvalued
	}
	h.SetBuckets(counted.Buckets)
	return h
}
