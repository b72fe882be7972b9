package gobin

import "fmt"

// Runtime reads what probes need to know of the Go runtime in the file: the
// offsets, from the best source that it has, and the place of g, from its code.
func (f *File) Runtime() (Runtime, error) {
	r := Runtime{StackHiOffset: 8, Goidgen: f.goidgen(), Turns: f.turns(), SchedBP: schedBP(f.minor), FramePointers: f.Arch == AMD64 || f.minor >= 21} // g begins with its stack: {lo, hi}
	var err error
	if r.Offsets, r.Source, err = f.readOffsets(); err != nil {
		return Runtime{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	if f.Arch == ARM64 {
		return r, nil
	}
	if r.TLSOffset, err = f.tlsOffset(); err != nil {
		return Runtime{}, fmt.Errorf("find the goroutine in %s: %w", f.Path, err)
	}
	return r, nil
}
