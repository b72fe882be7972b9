package instrument

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
)

// image is one executable that is traced: the open file, its plan, and the
// processes that were asked for by id.
type image struct {
	index     int // among the images of a trace
	file      *os.File
	inode     target.Inode
	binary    *gobin.File
	plan      *plan.Plan
	path      string
	processes []*target.Process
	// every says that all processes of the executable are targets.
	every bool
	read  fileID // what the file was when it was read
	lease lease
	// missed are the patterns that match nothing in this executable.
	missed []*plan.PatternError
}

// pids are the processes that are traced; none for every process.
func (i *image) pids() []int {
	var pids []int
	if !i.every {
		for _, p := range i.processes {
			pids = append(pids, p.PID())
		}
	}
	return pids
}

// has says whether a process is among those of the image.
func (i *image) has(pid int) bool {
	return slices.ContainsFunc(i.processes, func(p *target.Process) bool { return p.PID() == pid })
}

// openImage plans an executable. It takes over file.
func openImage(file *os.File, path string, rules plan.Rules) (*image, error) {
	i := &image{file: file, path: path}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	i.read = fileIDOf(info)
	if i.inode, err = target.StatInode(fmt.Sprintf("/proc/self/fd/%d", file.Fd())); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := checkFootprint(file, path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if i.binary, err = gobin.NewFile(file, path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if rules.DebugFile != "" {
		if err := i.binary.UseDebugFile(rules.DebugFile); err != nil {
			if place := rules.Written.DebugFile.Place(); place != "" {
				err = fmt.Errorf("%s: %w", place, err)
			}
			return nil, errors.Join(err, i.close())
		}
	}
	if err := i.build(rules); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// build makes the plan by the patterns that match something, of which there has
// to be one: another executable may have what the others match.
func (i *image) build(rules plan.Rules) (err error) {
	for {
		i.plan, err = plan.Build(i.binary, rules)
		var none *plan.PatternError
		if err == nil {
			i.missed = append(i.missed, i.plan.Unmatched...)
		}
		if !errors.As(err, &none) {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(rules.Patterns), func(p string) bool { return p == none.Pattern })
		if len(left) == len(rules.Patterns) || !slices.ContainsFunc(left, func(p string) bool { return !strings.HasPrefix(p, "!") }) {
			return err
		}
		i.missed = append(i.missed, none)
		rules.Patterns = left
	}
}

// checkPatterns returns the error of a pattern that matches nothing in any
// executable.
func checkPatterns(images []*image) error {
	for _, none := range images[0].missed {
		if !slices.ContainsFunc(images[1:], func(i *image) bool {
			return !slices.ContainsFunc(i.missed, func(e *plan.PatternError) bool { return e.Pattern == none.Pattern })
		}) {
			return none
		}
	}
	return nil
}

// exePath is the file's own path, as its processes have it.
func (i *image) exePath() string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", i.file.Fd()))
	if err != nil {
		return i.path
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// size is that of the file in bytes.
func (i *image) size() int64 {
	info, err := i.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (i *image) close() error {
	var errs []error
	for _, p := range i.processes {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, i.binary.Close(), i.file.Close())...)
}

// Plan writes the plans of a configuration's command or targets: what Run would
// do. It needs no privileges beyond reading the executables.
func Plan(w io.Writer, config Config) error {
	images, err := config.images()
	if err != nil {
		return err
	}
	var plans []*plan.Plan
	for n, i := range images {
		if n > 0 {
			fmt.Fprintln(w)
		}
		plans = append(plans, i.plan)
		i.plan.ReadDynamics()
		_, writeErr := i.plan.WriteTo(w)
		err = errors.Join(err, writeErr, i.close())
	}
	err = errors.Join(err, config.writeMemory(w, plans))
	if needed := attach.NeedsMulti(plans, config.options()); needed != "" {
		_, writeErr := fmt.Fprintf(w, "\nkernel\n  %s\n", needed)
		err = errors.Join(err, writeErr)
	}
	return err
}

// List calls visit with the plan of each executable of a configuration's targets,
// for what its List says. It needs no privileges beyond reading the executables.
func List(config Config, visit func(*plan.Plan) error) error {
	images, err := config.images()
	if err != nil {
		return err
	}
	for _, i := range images {
		i.binary.Release()
		err = errors.Join(err, visit(i.plan), i.close())
	}
	return err
}

// images opens what a configuration names, and starts nothing.
func (c *Config) images() ([]*image, error) {
	c.progress("reading executables")
	defer c.progress("")
	if c.Command == nil {
		images, _, err := openTargets(c.Targets, c.Rules, nil, c.Say)
		return images, err
	}
	path, err := c.Command.File()
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	i, err := openImage(file, path, c.Rules)
	if err != nil {
		return nil, err
	}
	if err := checkPatterns([]*image{i}); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return []*image{i}, nil
}
