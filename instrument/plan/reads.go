package plan

import "slices"

// Reads are the captures of a function that something has to be read for: the
// arguments, then the results. This is the order of the values in its events.
func (f *Function) Reads() (args, results []*Capture) {
	return reads(f.Args), reads(f.Results)
}

// Restarts says whether the function has a site of that kind.
func (f *Function) Restarts() bool {
	return slices.ContainsFunc(f.Entries, func(s Site) bool { return s.Restart })
}

func reads(captures []Capture) []*Capture {
	var read []*Capture
	for i := range captures {
		if captures[i].Kind != CaptureNone {
			read = append(read, &captures[i])
		}
	}
	return read
}
