package instrument

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
)

// Start plans, starts the command or finds the targets, and attaches. When it
// returns, calls are being recorded: Run has to follow, which tells what is traced
// and lets the command run. A command that could not be traced is not run.
func Start(config Config) (*Trace, error) {
	t := &Trace{
		config:     config,
		processes:  make(map[int]*traced),
		ended:      make(chan *traced, 16),
		asked:      make(chan chan<- Status),
		closed:     make(chan struct{}),
		looks:      1,
		spans:      make(map[*span.Function]uint64),
		homeless:   make(map[uint32]uint64),
		unfinished: make(map[uint32]uint64),
	}
	if err := t.start(); err != nil {
		if t.command != nil {
			err = errors.Join(err, t.command.Kill())
		}
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Trace) start() error {
	defer t.config.progress("")
	if err := target.CheckProc(); err != nil {
		return err
	}
	budget := newBudget()
	t.config.progress("reading executables")
	if err := t.open(); err != nil {
		return err
	}
	for n, i := range t.images {
		if err := attach.Fits(i.plan); err != nil {
			return err
		}
		if (t.config.Stacks || t.config.Tally) && !i.plan.Runtime.FramePointers {
			return fmt.Errorf("%s: its stacks cannot be told: before Go 1.21 not all functions keep a frame pointer on arm64", i.path)
		}
		i.plan.ReadDynamics()
		i.index = n
		t.plans = append(t.plans, i.plan)
		i.binary.Release()
		if i.every || t.config.Follow { // else none of its processes is left when it can be written
			var err error
			if i.lease, err = takeLease(i.file, i.path); err != nil {
				return err
			}
			if i.lease.was != i.read {
				return fmt.Errorf("%s was written while it was read: try again", i.path)
			}
		}
		if i.every {
			t.find(i)
		}
		if err := t.checkMemory(i); err != nil {
			return err
		}
	}
	options := t.config.options()
	if err := budget.fit(t.plans, &options, t.config.Say); err != nil {
		return err
	}
	var err error
	t.config.progress("loading the BPF programs")
	if t.session, err = attach.NewSession(t.plans, options); err != nil {
		return err
	}
	memory, err := attach.MemoryOf(t.plans, options)
	if err != nil {
		return err
	}
	t.mapMemory = memory.Most()
	t.assembler = span.NewAssembler(t.plans)
	if t.config.Stacks {
		t.assembler.ReadStacks(t.readStack)
	}
	debug.FreeOSMemory() // what planning took: a copy of uspan places each probe
	for _, i := range t.images {
		if err := t.leaveGone(i); err != nil {
			return err
		}
		for _, p := range i.processes {
			if err := t.adopt(p, i, 0, nil); err != nil {
				return err
			}
			if err := t.session.Watch(i.index, p.PID()); err != nil {
				return err
			}
		}
		t.config.progress("placing the probes in " + i.path)
		skipped, err := t.session.Attach(i.index, i.file, i.pids())
		if err != nil {
			return err
		}
		functions := len(i.plan.Functions) - len(skipped)
		t.functions += functions
		t.ready = append(t.ready, i.tracing(functions))
		t.ready = append(t.ready, t.left(i, skipped)...)
		i.plan.Skipped = nil // told; it can be longer than the plan
	}
	if t.config.Follow {
		if err := t.relate(); err != nil {
			return err
		}
	}
	if removal := t.session.Removal(); removal >= 2*time.Second {
		t.ready = append(t.ready, fmt.Sprintf("this kernel has no uprobe_multi links (Linux 6.6 has): to remove the probes will take some %d s",
			int(removal.Seconds())))
	}
	if t.command != nil {
		if err := t.session.WatchSignals(); err != nil {
			t.config.Say(err.Error() + "; Ctrl-C may reach the command twice")
		}
	}
	return nil
}

// open fills in images.
func (t *Trace) open() (err error) {
	if t.config.Command == nil {
		t.images, t.places, err = openTargets(t.config.Targets, t.config.Rules, &t.files, t.config.Say)
		return err
	}
	if t.command, err = target.Start(*t.config.Command); err != nil {
		return err
	}
	file, err := t.command.OpenExe()
	if err != nil {
		return err
	}
	i, err := openImage(file, t.config.Command.Path, t.config.Rules)
	if err != nil {
		return err
	}
	i.processes = append(i.processes, t.command)
	t.images = append(t.images, i)
	return checkPatterns(t.images)
}

// find adds the processes that run an executable already.
func (t *Trace) find(i *image) {
	found, err := target.Find(i.inode, i.size())
	if err != nil {
		t.config.Say(err.Error())
	}
	if found.Hidden > 0 {
		t.config.Say(hiddenProcesses(found.Hidden))
	}
	for _, pid := range slices.Concat(found.Same, found.Alike) {
		if i.has(pid) {
			continue
		}
		// One that has ended meanwhile, or runs something else, is none of them.
		p, err := target.Open(pid)
		if err != nil {
			continue
		}
		if t.runs(p, i) {
			i.processes = append(i.processes, p)
		} else if err := p.Close(); err != nil {
			t.config.Log(err.Error())
		}
	}
	if len(i.processes) == 0 {
		t.sayElsewhere(i.path)
	}
}

// leaveGone takes processes away that have ended since they were found, or execute
// something else: the others are traced without them.
func (t *Trace) leaveGone(i *image) error {
	var left []*target.Process
	var last error
	for _, p := range i.processes {
		file, err := p.OpenExe()
		switch {
		case err == nil:
			file.Close()
			left = append(left, p)
		case p == t.command || !errors.Is(err, target.ErrNoProcess):
			return err
		default:
			last = err
			if err := p.Close(); err != nil {
				t.config.Log(err.Error())
			}
		}
	}
	i.processes = left
	if last == nil {
		return nil
	}
	if len(left) == 0 && !i.every {
		return last
	}
	t.config.Log(last.Error())
	return nil
}

func hiddenProcesses(n int) string {
	return count(n, "process") + " of other users could not be looked at (CAP_SYS_PTRACE allows it)"
}

// runs says whether a process runs the executable, by whatever name.
func (t *Trace) runs(p *target.Process, i *image) bool {
	if p.Inode() == i.inode {
		return true
	}
	file, err := p.OpenExe()
	if err != nil {
		return false
	}
	defer file.Close()
	same, err := t.files.same(i.file, file)
	if err != nil {
		t.config.Log(err.Error())
	}
	return same
}

// runsOther says whether a process that has run the executable runs another by now.
func (t *Trace) runsOther(p *target.Process, i *image) bool {
	if p.Inode() == i.inode {
		return false
	}
	file, err := p.OpenExe()
	if err != nil {
		return errors.Is(err, target.ErrNoProcess) && p.Alive()
	}
	defer file.Close()
	same, err := t.files.same(i.file, file)
	return err == nil && !same
}

// sayElsewhere tells of processes that run another file by the path of one that
// nobody runs: they are in a container, and perhaps were meant.
func (t *Trace) sayElsewhere(path string) {
	if pids, _, err := target.FindByPath(path); err == nil && len(pids) > 0 {
		t.config.Say(fmt.Sprintf("no process runs %s, but %s %s another file by that path, in another mount namespace: "+
			"to trace it name /proc/%d/exe", path, processes(pids), runOrRuns(pids), pids[0]))
	}
}

// tracing says how many functions are traced, and where.
func (i *image) tracing(functions int) string {
	var where []string
	for _, p := range i.processes {
		where = append(where, strconv.Itoa(p.PID()))
	}
	switch {
	case i.every:
		return fmt.Sprintf("tracing %s of %s (every process, %d running)", count(functions, "function"), i.path, len(where))
	case len(where) == 1:
		return fmt.Sprintf("tracing %s of %s (pid %s)", count(functions, "function"), i.path, where[0])
	}
	return fmt.Sprintf("tracing %s of %s (pids %s)", count(functions, "function"), i.path, strings.Join(where, ", "))
}

// left says what of an executable is not traced: how much, and in the log which
// function why.
func (t *Trace) left(i *image, refused []plan.Skipped) []string {
	lines := t.ofRuntime(i.plan.Skipped)
	for _, s := range slices.Concat(i.plan.Skipped, refused) {
		if lines == nil || !s.OfRuntime() {
			t.config.Log(fmt.Sprintf("not traced: %s: %s", s.Name, s.Reason))
		}
	}
	for _, none := range i.missed {
		t.config.Log(fmt.Sprintf("%s: %v", i.path, none))
	}
	var left []string
	if n := len(i.plan.Skipped) + len(refused); n > 0 {
		left = append(left, count(n, "function")+" cannot be traced")
	}
	if n := i.plan.LeftOut(); n > 0 {
		left = append(left, count(n, "function")+" left out")
	}
	if len(left) > 0 {
		lines = append(lines, strings.Join(left, ", ")+" (--dry-run tells why)")
	}
	if why := t.session.Unwatched(i.index); why != "" {
		lines = append(lines, "panics are seen late, and without their values: "+why)
	}
	if why := t.session.Rootless(i.index); why != "" {
		lines = append(lines, "goroutines begin traces: "+why)
	}
	if i.plan.Unvalued != "" {
		lines = append(lines, "arguments and results: "+i.plan.None()+": "+i.plan.Unvalued)
	}
	return append(lines, i.plan.Conflicts...)
}

// ofRuntime says which functions of the runtime were asked for and are refused, a
// line for each reason: whoever names them should know. None where that would be
// nearly all of them.
func (t *Trace) ofRuntime(skipped []plan.Skipped) []string {
	const most = 64
	named := slices.ContainsFunc(t.config.Rules.Patterns, func(p string) bool { return !strings.HasPrefix(p, "!") })
	var reasons []string
	names := make(map[string][]string)
	n := 0
	for i := range skipped {
		s := &skipped[i]
		if !named || !s.OfRuntime() {
			continue
		}
		if names[s.Reason] == nil {
			reasons = append(reasons, s.Reason)
		}
		names[s.Reason] = append(names[s.Reason], s.Name)
		n++
	}
	if n > most {
		return nil
	}
	var lines []string
	for _, reason := range reasons {
		lines = append(lines, fmt.Sprintf("not traced: %s: %s", strings.Join(names[reason], ", "), reason))
	}
	return lines
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}
