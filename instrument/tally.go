package instrument

import (
	"github.com/uspan/uspan/instrument/profile"
	"github.com/uspan/uspan/instrument/span"
)

// Tally is the calls so far by their stacks, with Config.Tally, the most frequent
// last; until Close.
func (t *Trace) Tally() ([]profile.Count, error) {
	all, err := t.session.Tallies()
	if err != nil {
		return nil, err
	}
	var counts []profile.Count
	for n := range all {
		raw := &all[n]
		function := int(raw.Function)
		for _, i := range t.images {
			if function < len(i.plan.Functions) {
				f := &i.plan.Functions[function]
				called := &span.Function{FullName: f.Name, File: f.File, Line: f.Line}
				counts = append(counts, profile.Count{Stack: span.NewStack(i.binary, called, raw), Calls: raw.Calls, Executable: i.path})
				break
			}
			function -= len(i.plan.Functions)
		}
	}
	return profile.Merge(counts), nil
}
