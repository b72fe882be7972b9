package attach

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
)

// verify compares the bytes at every site with the planned instruction. A probe
// in the middle of an instruction would corrupt the target.
func verify(p *plan.Plan, file *gobin.Blocks) (functions []int, skipped []plan.Skipped) {
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

func verifySites(file *gobin.Blocks, sites ...[]plan.Site) error {
	for _, list := range sites {
		for i := range list {
			site := &list[i]
			have, err := file.Range(int64(site.Offset), len(site.Bytes))
			if err != nil {
				return fmt.Errorf("the code at %#x cannot be read: %w", site.Addr, err)
			}
			if !bytes.Equal(have, site.Bytes) {
				return fmt.Errorf("the code at %#x is not what was planned for: % x, not % x",
					site.Addr, have, site.Bytes)
			}
		}
	}
	return nil
}

func entries(f *plan.Function) []plan.Site { return f.Entries }
func exits(f *plan.Function) []plan.Site   { return f.Exits }

// attaching is one executable on its way into the kernel, with the links that
// it has by now.
type attaching struct {
	session      *Session
	plan         int
	path         string // of the executable
	enter, leave []probes
	aside        []probes // of no function: see Session
}

// attach makes the links for functions: two for each process. Functions with a
// site that the kernel refuses are returned with the reason; then, and after an
// error, there are no links.
func (a *attaching) attach(functions []int, pids []int) (refused map[int]string, err error) {
	defer func() {
		if err != nil || len(refused) > 0 {
			err = errors.Join(err, closeAll(a.enter), closeAll(a.leave))
			a.enter, a.leave = nil, nil
		}
	}()
	objects := &a.session.objects
	// Exits first: a call that is seen to begin must be seen to end.
	ends, begins := a.sites(functions, exits, false), a.sites(functions, entries, true)
	for _, pid := range pids {
		if refused, err = a.place(&a.leave, objects.Leave, ends, pid); err != nil || len(refused) > 0 {
			return refused, err
		}
		if refused, err = a.place(&a.enter, a.session.entering(), begins, pid); err != nil || len(refused) > 0 {
			return refused, err
		}
	}
	return nil, nil
}

// attachEach is attach with a link for each site, where those of functions that
// the kernel does not refuse stay: to remove links takes long there.
func (a *attaching) attachEach(functions []int, pids []int) (refused map[int]string, err error) {
	objects := &a.session.objects
	refused = make(map[int]string)
	leave, enter := make(map[int]probes), make(map[int]probes)
	ends, begins := a.sites(functions, exits, false), a.sites(functions, entries, true)
	for _, pid := range pids {
		if err = a.placeEach(leave, objects.Leave, ends, pid, refused); err != nil {
			break
		}
		if err = a.placeEach(enter, a.session.entering(), begins, pid, refused); err != nil {
			break
		}
	}
	var gone []probes
	for _, i := range functions {
		if _, no := refused[i]; no || err != nil {
			gone = append(gone, enter[i], leave[i])
			continue
		}
		a.enter, a.leave = append(a.enter, enter[i]), append(a.leave, leave[i])
	}
	return refused, errors.Join(err, closeAll(gone))
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

// sites are the probes of functions, of one kind.
func (a *attaching) sites(functions []int, kind func(*plan.Function) []plan.Site, entry bool) addresses {
	p := a.session.plans[a.plan]
	var all addresses
	if a.session.tally && !entry {
		return all
	}
	for _, i := range functions {
		f := &p.Functions[i]
		for _, site := range kind(f) {
			all.offsets = append(all.offsets, site.Offset)
			all.cookies = append(all.cookies, cookie(f, &site, entry, a.session.base[a.plan]+i, a.plan))
			all.owners = append(all.owners, i)
		}
	}
	return all
}

// place adds a link for sites to links. Functions with a site that the kernel
// refuses are returned with the reason, and then there is no link. No sites at
// all: no link, and no error.
func (a *attaching) place(links *[]probes, program *ebpf.Program, sites addresses, pid int) (map[int]string, error) {
	if len(sites.offsets) == 0 {
		return nil, nil
	}
	l, err := a.link(program, sites, pid)
	if err == nil {
		*links = append(*links, l)
		return nil, nil
	}
	refused := make(map[int]string)
	return refused, a.bisect(program, sites, pid, err, refused)
}

func (a *attaching) link(program *ebpf.Program, sites addresses, pid int) (probes, error) {
	return newMultiProbes(program, a.path, sites.offsets, sites.cookies, pid)
}

// placeEach adds a link for each site to those of its function.
func (a *attaching) placeEach(links map[int]probes, program *ebpf.Program, sites addresses, pid int, refused map[int]string) error {
	placed, failed, err := newPerfProbes(program, a.path, sites, pid)
	for i := range placed {
		owner := sites.owners[i]
		links[owner] = append(links[owner], placed[i]...)
		switch failure := failed[i]; {
		case failure == nil:
		case siteRefused(failure):
			refused[owner] = refusal(sites.offsets[i], failure)
		case err == nil:
			err = a.placeError(pid, failure)
		}
	}
	return err
}

// placeError says what an error means that is not about a site.
func (a *attaching) placeError(pid int, failure error) error {
	switch {
	case errors.Is(failure, syscall.ESRCH):
		return fmt.Errorf("process %d: %w", pid, target.ErrNoProcess)
	case errors.Is(failure, os.ErrPermission) && a.session.multi:
		return &MachineError{fmt.Errorf("%w: run uspan as root (sudo), or give it CAP_BPF and CAP_PERFMON", failure)}
	case errors.Is(failure, os.ErrPermission):
		return perfDenied(failure)
	case !a.session.multi && (errors.Is(failure, syscall.EMFILE) || errors.Is(failure, syscall.ENFILE)):
		return fmt.Errorf("%w: each probe is one on this kernel: raise the limit (ulimit -n), or trace fewer functions (-f)", failure)
	}
	return failure
}

func refusal(offset uint64, failure error) string {
	return fmt.Sprintf("the kernel refuses a probe at file offset %#x (%v)", offset, failure)
}

// bisect finds the sites that make the kernel answer failure.
func (a *attaching) bisect(program *ebpf.Program, sites addresses, pid int, failure error, refused map[int]string) error {
	if !siteRefused(failure) {
		return a.placeError(pid, failure)
	}
	if len(sites.offsets) == 1 {
		refused[sites.owners[0]] = refusal(sites.offsets[0], failure)
		return nil
	}
	middle := len(sites.offsets) / 2
	for _, half := range []addresses{sites.slice(0, middle), sites.slice(middle, len(sites.offsets))} {
		l, err := a.link(program, half, pid)
		if err == nil {
			err = l.Close()
		} else {
			err = a.bisect(program, half, pid, err, refused)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errNotSupported is the kernel's ENOTSUPP, its answer for an instruction that it
// does not probe (include/linux/errno.h).
const errNotSupported = syscall.Errno(524)

// siteRefused says that a failure may be about one of the sites.
func siteRefused(failure error) bool {
	for _, errno := range []syscall.Errno{errNotSupported, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EIO, syscall.EEXIST} {
		if errors.Is(failure, errno) {
			return true
		}
	}
	return false
}

// cookie is what a site tells its program.
func cookie(f *plan.Function, site *plan.Site, entry bool, function, binary int) uint64 {
	return bpf.Cookie(function, binary, cookieFlags(f, site, entry), condition(site), site.SPOffset)
}

// allCookieFlags are all that cookieFlags can return.
const allCookieFlags = bpf.CookieArgs | bpf.CookieResults | bpf.CookieThreadG | bpf.CookieBoth | bpf.CookieRestart |
	bpf.CookieKept | bpf.CookieTail | bpf.CookieNoAdopt | bpf.CookieRoot | bpf.CookieLoops

func cookieFlags(f *plan.Function, site *plan.Site, entry bool) (flags uint64) {
	if f.Args.Reads() {
		flags |= bpf.CookieArgs
	}
	if f.Results.Reads() || f.Error != nil {
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
	if entry {
		if f.Root {
			flags |= bpf.CookieRoot
		}
		if f.Work != nil {
			flags |= bpf.CookieLoops
		}
	}
	return flags
}

func condition(site *plan.Site) uint64 {
	if site.Condition == plan.NotBelowOrEqual {
		return bpf.ConditionNotBelowOrEqual
	}
	return bpf.ConditionAlways
}
