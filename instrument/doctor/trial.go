package doctor

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/gobin"
)

// Cost is what a call with one probe takes longer, in nanoseconds: where the kernel
// emulates the instruction, and where it single-steps it. 0: it was not measured.
type Cost struct {
	Emulated      int64 `json:"emulated_ns"`
	SingleStepped int64 `json:"single_stepped_ns"`
}

// trial is what probes on a child of uspan's own have shown.
type trial struct {
	cost Cost
	// hits are of probes in one process: of calls on another thread of it, and of calls
	// of another process.
	own, others uint64
}

// calls is how many calls there are of each, everywhere the process id for a probe in
// all processes of the executable.
const calls, everywhere = 100, 0

// patience bounds a measurement.
const patience = 300 * time.Millisecond

// try puts probes on children, which command starts.
func try(command func() *exec.Cmd) (t trial, err error) {
	path := command().Path
	sites, err := probedSites(path)
	if err != nil {
		return t, err
	}
	counter, err := attach.OpenTrial()
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, counter.Close()) }()
	one, err := startChild(command())
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, one.close()) }()
	other, err := startChild(command())
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, other.close()) }()
	if t.own, _, err = tries(counter, path, sites[0].offset, everywhere, one, other); err != nil {
		return t, err
	}
	if t.own < calls {
		return t, fmt.Errorf("a probe was hit at %d of %d calls", t.own, calls)
	}
	if t.own, t.others, err = tries(counter, path, sites[0].offset, one.cmd.Process.Pid, one, other); err != nil {
		return t, err
	}
	bare, err := perCall(one)
	if err != nil {
		return t, err
	}
	for _, site := range sites {
		placed, err := counter.Place(path, site.offset, everywhere)
		if err != nil {
			return t, fmt.Errorf("place a probe: %w", err)
		}
		cost, err := perCall(one)
		if err := errors.Join(err, placed.Close()); err != nil {
			return t, err
		}
		if site.emulated {
			t.cost.Emulated = max(cost-bare, 1)
		} else {
			t.cost.SingleStepped = max(cost-bare, 1)
		}
	}
	return t, nil
}

// tries counts how often a probe in a process is hit by calls of one child, and by
// those of another.
func tries(counter *attach.Trial, path string, offset uint64, pid int, one, other *child) (own, others uint64, err error) {
	placed, err := counter.Place(path, offset, pid)
	if err != nil {
		return 0, 0, fmt.Errorf("place a probe: %w", err)
	}
	defer func() { err = errors.Join(err, placed.Close()) }()
	before, err := counter.Hits()
	if err != nil {
		return 0, 0, err
	}
	for _, c := range []struct {
		*child
		hits *uint64
	}{{one, &own}, {other, &others}} {
		if _, err := c.call(calls); err != nil {
			return own, others, err
		}
		now, err := counter.Hits()
		if err != nil {
			return own, others, err
		}
		*c.hits, before = now-before, now
	}
	return own, others, nil
}

// perCall is how many nanoseconds a call takes: the median of some rounds.
func perCall(c *child) (int64, error) {
	var rounds []int64
	for begun := time.Now(); len(rounds) < 9 || len(rounds) < 99 && time.Since(begun) < patience; {
		took, err := c.call(calls)
		if err != nil {
			return 0, err
		}
		rounds = append(rounds, took.Nanoseconds()/calls)
		if time.Since(begun) > 10*patience {
			break
		}
	}
	slices.Sort(rounds)
	return rounds[len(rounds)/2], nil
}

// A site is an instruction of Probed that every call comes to.
type site struct {
	offset   uint64 // in the file
	emulated bool
}

// probedSites are one that the kernel emulates and one that it single-steps, where
// there are both. path is the executable's.
func probedSites(path string) (sites []site, err error) {
	file, err := gobin.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const name = "github.com/uspan/uspan/instrument/doctor.Probed"
	all := file.Functions()
	at := slices.IndexFunc(all, func(f gobin.Function) bool { return f.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("%s has no function %s", path, name)
	}
	body, err := file.Body(&all[at])
	if err != nil {
		return nil, err
	}
	for _, emulated := range []bool{true, false} {
		for _, in := range body.Instructions {
			offset, ok := file.Offset(in.Addr)
			if ok && in.Emulated == emulated && in.Refused == "" {
				sites = append(sites, site{offset, emulated})
				break
			}
			if in.Kind == gobin.CondJump { // behind it is where not every call comes to
				break
			}
		}
	}
	if len(sites) == 0 {
		return nil, fmt.Errorf("%s: no instruction of %s takes a probe", path, name)
	}
	return sites, nil
}
