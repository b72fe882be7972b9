package attach

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// verify compares the bytes at every site with the planned instruction. A probe
// in the middle of an instruction would corrupt the target.
func verify(p *plan.Plan, file io.ReaderAt) (functions []int, skipped []plan.Skipped) {
	for i := range p.Functions {
		f := &p.Functions[i]
		if err := verifySites(file, f.Entries, f.Exits); err != nil {
			skipped = append(skipped, plan.Skipped{Function: f.Function, Reason: err.Error()})
			continue
		}
		functions = append(functions, i)
	}
	return functions, skipped
}

func verifySites(file io.ReaderAt, sites ...[]plan.Site) error {
	var have [16]byte
	for _, list := range sites {
		for _, site := range list {
			n, err := file.ReadAt(have[:len(site.Bytes)], int64(site.Offset))
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("the code at %#x cannot be read: %w", site.Addr, err)
			}
			if !bytes.Equal(have[:n], site.Bytes) {
				return fmt.Errorf("the code at %#x is not what was planned for: % x, not % x",
					site.Addr, have[:n], site.Bytes)
			}
		}
	}
	return nil
}

func entries(f *plan.Function) []plan.Site { return f.Entries }
func exits(f *plan.Function) []plan.Site   { return f.Exits }

// attaching is one executable on its way into the kernel.
type attaching struct {
	session    *Session
	executable *link.Executable
	plan       int
}

// addresses are the probes of one link; owners are the functions that they
// belong to.
type addresses struct {
	offsets, cookies []uint64
	owners           []int
}

func (a addresses) slice(from, to int) addresses {
	return addresses{a.offsets[from:to], a.cookies[from:to], a.owners[from:to]}
}

// attach makes one link for the sites of functions. Functions with a site that
// the kernel refuses are returned with the reason, and then there is no link.
// No sites at all: no link, and no error.
func (a *attaching) attach(program *ebpf.Program, functions []int, sites func(*plan.Function) []plan.Site) (link.Link, map[int]string, error) {
	p := a.session.plans[a.plan]
	var all addresses
	for _, i := range functions {
		f := &p.Functions[i]
		for _, site := range sites(f) {
			all.offsets = append(all.offsets, site.Offset)
			all.cookies = append(all.cookies, cookie(f, &site, a.session.base[a.plan]+i, a.plan))
			all.owners = append(all.owners, i)
		}
	}
	if len(all.offsets) == 0 {
		return nil, nil, nil
	}
	l, err := a.link(program, all)
	if err == nil {
		return l, nil, nil
	}
	refused := make(map[int]string)
	if err := a.bisect(program, all, err, refused); err != nil {
		return nil, nil, err
	}
	return nil, refused, nil
}

func (a *attaching) link(program *ebpf.Program, sites addresses) (link.Link, error) {
	return a.executable.UprobeMulti(nil, program, &link.UprobeMultiOptions{
		Addresses: sites.offsets,
		Cookies:   sites.cookies,
	})
}

// bisect finds the sites that make the kernel answer failure.
func (a *attaching) bisect(program *ebpf.Program, sites addresses, failure error, refused map[int]string) error {
	switch {
	case errors.Is(failure, os.ErrPermission):
		return fmt.Errorf("%w: run uspan as root (sudo), or give it CAP_BPF and CAP_PERFMON", failure)
	case errors.Is(failure, ebpf.ErrNotSupported) && features.HaveBPFLinkUprobeMulti() != nil:
		return unsupported(failure)
	case errors.Is(failure, syscall.ENOMEM):
		return failure
	}
	if len(sites.offsets) == 1 {
		refused[sites.owners[0]] = fmt.Sprintf("the kernel refuses a probe at file offset %#x: %v",
			sites.offsets[0], failure)
		return nil
	}
	middle := len(sites.offsets) / 2
	for _, half := range []addresses{sites.slice(0, middle), sites.slice(middle, len(sites.offsets))} {
		l, err := a.link(program, half)
		if err == nil {
			l.Close()
			continue
		}
		if err := a.bisect(program, half, err, refused); err != nil {
			return err
		}
	}
	return nil
}

// cookie is what a site tells its program.
func cookie(f *plan.Function, site *plan.Site, function, binary int) uint64 {
	var flags uint64
	args, results := f.Reads()
	if len(args) > 0 {
		flags |= bpf.CookieArgs
	}
	if len(results) > 0 {
		flags |= bpf.CookieResults
	}
	if site.ThreadG {
		flags |= bpf.CookieThreadG
	}
	if site.Both {
		flags |= bpf.CookieBoth
	}
	if site.Restart {
		flags |= bpf.CookieRestart
	} else if f.Restarts() {
		flags |= bpf.CookieKept
	}
	if site.Tail {
		flags |= bpf.CookieTail
	}
	if !f.Adopts {
		flags |= bpf.CookieNoAdopt
	}
	condition := bpf.ConditionAlways
	if site.Condition == plan.NotBelowOrEqual {
		condition = bpf.ConditionNotBelowOrEqual
	}
	return bpf.Cookie(function, binary, flags, condition, site.SPOffset)
}
