// Package doctor finds out whether functions can be traced on this machine, with these
// permissions, and what a probe costs: by trying, where that can be.
package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/target"
)

// Status is what a finding means for tracing.
type Status string

// Statuses. Note: it works, with less than there could be. Fails: it does not work.
const (
	OK    Status = "ok"
	Note  Status = "note"
	Fails Status = "fails"
)

// A Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Found is what there is, Means what that means for tracing, and WayOut what can be
	// done about it; the last two may be empty.
	Found  string `json:"found"`
	Means  string `json:"means,omitempty"`
	WayOut string `json:"way_out,omitempty"`
}

// A Report is what was found.
type Report struct {
	// Works says that tracing will work.
	Works  bool    `json:"works"`
	Checks []Check `json:"checks"`
	Cost   Cost    `json:"cost"`
}

// Examine looks at the machine. command is of children that call Child.
func Examine(command func() *exec.Cmd) *Report {
	r := &Report{Works: true}
	has := attach.LookForFeatures()
	t, trialErr := try(command)
	r.kernel()
	r.btf(has)
	r.probes(trialErr)
	r.multi(has.Multi)
	r.filter(has.Multi, t, trialErr)
	r.add(featured("cookies", has.Cookies, "a probe cannot tell which function it is of", "Linux 5.15 or later is needed", Fails))
	r.add(featured("sleepable uprobes", has.Sleepable, "uspan uses none", "", OK))
	r.add(lockdown(has.Reads))
	r.capabilities(has.Multi)
	r.tracefs()
	r.namespaces()
	r.rlimits(has.Multi)
	r.Cost = t.cost
	return r
}

func (r *Report) add(c Check) {
	if c.Status == OK || c.Status == "" {
		c.Status, c.WayOut = OK, ""
	}
	if c.Status == Fails {
		r.Works = false
	}
	r.Checks = append(r.Checks, c)
}

// featured is about a feature that is there, is not, or could not be asked for.
func featured(name string, err error, means, wayOut string, without Status) Check {
	switch {
	case err == nil:
		return Check{Name: name, Found: "there"}
	case denied(err):
		return Check{Name: name, Status: Note, Found: "not known: there is no permission to ask", WayOut: privileges}
	}
	return Check{Name: name, Status: without, Found: "not there", Means: means, WayOut: wayOut}
}

const privileges = "run uspan as root (sudo), or give it CAP_BPF and CAP_PERFMON"

func denied(err error) bool { return errors.Is(err, os.ErrPermission) }

func (r *Report) kernel() {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		r.add(Check{Name: "kernel", Status: Note, Found: err.Error()})
		return
	}
	c := Check{Name: "kernel", Found: "Linux " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err == nil && (major < 6 || major == 6 && minor < 1) {
		c.Status, c.Means, c.WayOut = Fails, "uspan's programs do not run on it", "Linux 6.1 or later is needed"
	}
	r.add(c)
}

func (r *Report) btf(has attach.Features) {
	c := Check{Name: "BTF", Found: "/sys/kernel/btf/vmlinux"}
	if _, err := os.Stat(c.Found); err != nil {
		c = Check{
			Name: "BTF", Status: Fails, Found: "none (/sys/kernel/btf/vmlinux)",
			Means:  "the programs cannot find their way in the kernel's structs",
			WayOut: "a kernel with CONFIG_DEBUG_INFO_BTF, as distributions have it; in a container, /sys of the host",
		}
	}
	r.add(c)
	if c.Status != Fails && has.Missing != "" {
		r.add(Check{Name: "programs", Status: Fails, Found: "the kernel has no " + has.Missing, WayOut: "Linux 6.1 or later is needed"})
	}
}

func (r *Report) probes(err error) {
	c := Check{Name: "probes", Found: "placed on a child of uspan's own, and hit"}
	if err != nil {
		c = Check{Name: "probes", Status: Fails, Found: strings.Join(strings.Fields(err.Error()), " "), Means: "no function can be traced", WayOut: "see what fails below"}
	}
	r.add(c)
}

func (r *Report) multi(err error) {
	r.add(featured("uprobe_multi", err,
		"300 probes at most, each of which takes up to 0.1 s to remove", "Linux 6.6 or later has it", Note))
}

func (r *Report) filter(multi error, t trial, trialErr error) {
	c := Check{Name: "process filter"}
	const pays = "other processes of the same executable pay for the probes of the one that is traced"
	switch {
	case trialErr != nil:
		c.Status, c.Found = Note, "not tried: there are no probes"
	case t.own < calls:
		c.Status, c.Means = Note, "uspan places probes in all processes of the executable instead: "+pays
		c.Found = fmt.Sprintf("%d of %d hits of another thread of the process", t.own, calls)
		c.WayOut = "Linux 6.10 or later does better"
		if multi == nil && attach.FiltersProcesses() {
			c.Status, c.Means = Fails, "calls are lost, since this kernel's version promises better"
		}
	case t.others > 0:
		c.Status, c.Means = Note, pays
		c.Found = fmt.Sprintf("all threads of the process, and %d of %d hits of another", t.others, calls)
	default:
		c.Found = "all threads of the process, and no other process"
	}
	r.add(c)
}

// lockdown goes by what programs may do, since its mode is often not to be seen.
func lockdown(reads error) Check {
	mode := "mode not shown (securityfs is not mounted)"
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err == nil {
		if _, chosen, ok := strings.Cut(string(text), "["); ok {
			mode, _, _ = strings.Cut(chosen, "]")
		}
	}
	switch {
	case reads == nil:
		return Check{Name: "lockdown", Found: mode + ": programs may read memory"}
	case denied(reads):
		return Check{Name: "lockdown", Status: Note, Found: mode + ": not tried: there is no permission to load programs", WayOut: privileges}
	}
	return Check{
		Name: "lockdown", Status: Fails, Found: mode + ": programs may not read memory",
		Means: "no function can be traced", WayOut: "boot with lockdown=integrity, or none",
	}
}

// capabilities that matter, and what for.
var capabilities = []struct {
	name   string
	number int
	what   string
}{
	{"CAP_BPF", unix.CAP_BPF, "to load the programs"},
	{"CAP_PERFMON", unix.CAP_PERFMON, "to place probes"},
	{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE, "to look at processes of other users, and to start a command"},
	{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH, "to read what other users' processes run"},
}

func (r *Report) capabilities(multi error) {
	effective, err := effectiveCapabilities()
	if err != nil {
		r.add(Check{Name: "capabilities", Status: Note, Found: err.Error()})
		return
	}
	admin := effective&(1<<unix.CAP_SYS_ADMIN) != 0
	c := Check{Name: "capabilities", Found: "all that are needed"}
	var lacking, purposes []string
	for _, capability := range capabilities {
		have := effective&(1<<capability.number) != 0
		needed := capability.number == unix.CAP_BPF || capability.number == unix.CAP_PERFMON
		if have || needed && admin { // which stands for both
			continue
		}
		lacking = append(lacking, capability.name)
		purposes = append(purposes, capability.name+" is needed "+capability.what)
		if needed {
			c.Status = Fails
		} else if c.Status == "" {
			c.Status = Note
		}
	}
	if multi != nil && !denied(multi) && !admin {
		lacking, purposes = append(lacking, "CAP_SYS_ADMIN"), append(purposes, "CAP_SYS_ADMIN is needed for probes without uprobe_multi")
		c.Status = Fails
	}
	if !target.InitUserNamespace() {
		c.Status, c.Found, c.WayOut = Fails, "those of a user namespace, which are none on the host", "run uspan outside of it, as root"
	} else if len(lacking) > 0 {
		c.Found = "without " + strings.Join(lacking, ", ")
		c.Means = strings.Join(purposes, "; ")
		c.WayOut = "run uspan as root (sudo), or: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep " + executable()
	}
	r.add(c)
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return "uspan"
	}
	return path
}

// effectiveCapabilities are those of this process, a bit for each.
func effectiveCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		}
	}
	return 0, errors.New("/proc/self/status tells no capabilities")
}

func (r *Report) tracefs() {
	c := Check{Name: "tracefs", Found: "not mounted", Means: "uspan needs none"}
	for _, path := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(path + "/events"); err == nil {
			c.Found = path
			break
		}
	}
	r.add(c)
}

func (r *Report) namespaces() {
	c := Check{Name: "namespaces", Found: "the initial ones"}
	switch {
	case !target.InitUserNamespace():
		c.Status, c.Found = Fails, "a user namespace"
		c.Means = "its root has no privileges on the host (a rootless container?)"
		c.WayOut = "run uspan outside, as root"
	case !target.InitPIDNamespace():
		c.Found = "a PID namespace"
		c.Means = "processes outside of it are not seen"
	}
	r.add(c)
	c = Check{Name: "/proc", Found: "of uspan's PID namespace"}
	if err := target.CheckProc(); err != nil {
		c.Status, c.Found = Fails, err.Error()
	}
	r.add(c)
}

func (r *Report) rlimits(multi error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		r.add(Check{Name: "rlimits", Status: Note, Found: err.Error()})
		return
	}
	c := Check{Name: "rlimits", Found: fmt.Sprintf("%d open files", files.Cur)}
	if multi != nil && !denied(multi) && files.Cur < 512 {
		c.Status, c.Means, c.WayOut = Note, "without uprobe_multi each probe is an open file", "ulimit -n 512"
	}
	r.add(c)
}
