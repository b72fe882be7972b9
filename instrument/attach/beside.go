package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

// Unwatched is why panics are seen late in the plan with that index, and without
// their values; empty where the probes are there that see them.
func (s *Session) Unwatched(index int) string {
	if s.unwatched[index] != "" {
		return s.unwatched[index]
	}
	return s.plans[index].Unwatched
}

// Rootless is why `go` statements of the plan with that index are not followed to
// their goroutines; empty where they are, or where there are none.
func (s *Session) Rootless(index int) string {
	if s.rootless[index] != "" {
		return s.rootless[index]
	}
	return s.plans[index].Rootless
}

// watchPanics places the probes in the runtime that see panics and Goexit. It
// says why they are not there.
func (a *attaching) watchPanics(file *gobin.Blocks, pids []int) (unwatched string) {
	p := a.session.plans[a.plan]
	var sites []*plan.Site
	var cookies []uint64
	for i := range p.Unwinding {
		site := &p.Unwinding[i].Site
		sites = append(sites, site)
		cookies = append(cookies, bpf.Cookie(a.session.base[a.plan], a.plan,
			role(p.Unwinding[i].Role), condition(site), site.SPOffset))
	}
	return a.beside(a.session.objects.Unwound, file, pids, sites, cookies)
}

// watchGo places the probes on `go` statements. It says why they are not there.
func (a *attaching) watchGo(file *gobin.Blocks, pids []int) (rootless string) {
	p := a.session.plans[a.plan]
	var sites []*plan.Site
	var cookies []uint64
	for i := range p.GoSites {
		site := &p.GoSites[i].Site
		sites = append(sites, site)
		cookies = append(cookies, bpf.Cookie(a.session.goBase[a.plan]+i, a.plan, 0, bpf.ConditionAlways, 0))
	}
	return a.beside(a.session.objects.Spawned, file, pids, sites, cookies)
}

// beside places probes that stand beside those of the functions. A kernel that
// refuses them, or a file with other bytes, is no reason not to trace: it is
// returned.
func (a *attaching) beside(program *ebpf.Program, file *gobin.Blocks, pids []int, sites []*plan.Site, cookies []uint64) string {
	if len(sites) == 0 {
		return ""
	}
	all := addresses{cookies: cookies}
	for i, site := range sites {
		if err := verifySites(file, []plan.Site{*site}); err != nil {
			return err.Error()
		}
		all.offsets = append(all.offsets, site.Offset)
		all.owners = append(all.owners, i)
	}
	var placed []probes
	for _, pid := range pids {
		link, err := a.linkAll(program, all, pid)
		if err != nil {
			if err := closeAll(placed); err != nil {
				return err.Error()
			}
			return fmt.Sprintf("the kernel refuses the probes: %v", err)
		}
		placed = append(placed, link)
	}
	a.aside = append(a.aside, placed...)
	return ""
}

// linkAll places probes, all of them or none.
func (a *attaching) linkAll(program *ebpf.Program, sites addresses, pid int) (probes, error) {
	if a.session.multi {
		return a.link(program, sites, pid)
	}
	var all probes
	placed, failed, err := newPerfProbes(program, a.path, sites, pid)
	for i := range placed {
		all = append(all, placed[i]...)
		err = errors.Join(err, failed[i])
	}
	if err != nil {
		return nil, errors.Join(err, all.Close())
	}
	return all, nil
}

// role is what a cookie says of a site in the runtime.
func role(r plan.Role) uint64 {
	switch r {
	case plan.PanicBegins:
		return bpf.RolePanic
	case plan.PanicRecovered:
		return bpf.RoleRecovery
	case plan.PanicFatal:
		return bpf.RoleFatal
	case plan.GoexitBegins:
		return bpf.RoleGoexit
	}
	return bpf.RoleGoexitEnd
}
