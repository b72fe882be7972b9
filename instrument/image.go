package instrument

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
)

// image is one executable that is traced: the open file, its plan, and the
// processes that were asked for by id.
type image struct {
	file      *os.File
	inode     target.Inode
	binary    *gobin.File
	plan      *plan.Plan
	path      string
	processes []*target.Process
	// every says that all processes of the executable are targets.
	every bool
	// missed are the patterns that match nothing in this executable.
	missed []*plan.PatternError
	// replaced says that path leads to another file by now.
	replaced bool
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
	var err error
	if i.inode, err = target.StatInode(fmt.Sprintf("/proc/self/fd/%d", file.Fd())); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := checkFootprint(file, path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if i.binary, err = gobin.NewFile(file, path); err != nil {
		return nil, errors.Join(err, file.Close())
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
		if !errors.As(err, &none) {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(rules.Patterns), func(p string) bool { return p == none.Pattern })
		if !slices.ContainsFunc(left, func(p string) bool { return !strings.HasPrefix(p, "!") }) {
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

// newFile says whether the path of an executable leads to another file than the
// one that is traced, since the last time that it did not.
func (i *image) newFile() bool {
	there, err := target.StatInode(i.path)
	if err != nil || there == i.inode {
		return false
	}
	was := i.replaced
	i.replaced = true
	return !was
}

func (i *image) close() error {
	var errs []error
	for _, p := range i.processes {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, i.binary.Close(), i.file.Close())...)
}

// openPath opens an executable that is named by a path or, without a slash, as
// a shell would find it.
func openPath(name string, rules plan.Rules) (*image, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path = name // what is not executable may be read all the same
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.Contains(name, "/"):
		return nil, fmt.Errorf("%s is neither a process id nor an executable in $PATH", name)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory: name an executable", name)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file: name an executable", name)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return openImage(file, path, rules)
}

// openElsewhere opens the executable that processes in another mount namespace,
// a container's, see under a path that leads nowhere in uspan's own. notFound is
// the error where none does.
func openElsewhere(path string, rules plan.Rules, notFound error) (*image, error) {
	pids, err := target.FindByPath(path)
	if err != nil || len(pids) == 0 {
		return nil, errors.Join(notFound, err)
	}
	first, err := target.Open(pids[0])
	if err != nil {
		return nil, err
	}
	defer first.Close()
	for _, pid := range pids[1:] {
		if other, err := target.StatInode(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && other != first.Inode() {
			return nil, fmt.Errorf("%s is another file for process %d than for process %d: give process ids", path, pid, pids[0])
		}
	}
	file, err := first.OpenExe()
	if err != nil {
		return nil, err
	}
	return openImage(file, path, rules)
}

// openProcess opens the executable that a process runs, whatever is at its path now.
func openProcess(p *target.Process, rules plan.Rules) (*image, error) {
	file, err := p.OpenExe()
	if err != nil {
		return nil, err
	}
	i, err := openImage(file, p.ExePath(), rules)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", p.PID(), err)
	}
	i.processes = append(i.processes, p)
	return i, nil
}

// openTargets opens process ids and paths: one image an executable.
func openTargets(targets []string, rules plan.Rules) (images []*image, err error) {
	defer func() {
		if err != nil {
			for _, i := range images {
				err = errors.Join(err, i.close())
			}
			images = nil
		}
	}()
	same := func(inode target.Inode) *image {
		for _, i := range images {
			if i.inode == inode {
				return i
			}
		}
		return nil
	}
	for _, name := range targets {
		pid, notNumber := strconv.Atoi(name)
		if notNumber != nil {
			i, err := openPath(name, rules)
			if errors.Is(err, fs.ErrNotExist) { // a path
				i, err = openElsewhere(name, rules, err)
			}
			if err != nil {
				return images, err
			}
			i.every = true
			if known := same(i.inode); known != nil {
				known.every = true
				if err := i.close(); err != nil {
					return images, err
				}
			} else {
				images = append(images, i)
			}
			continue
		}
		p, err := target.Open(pid)
		if err != nil {
			return images, err
		}
		if known := same(p.Inode()); known != nil {
			if known.has(pid) {
				p.Close()
			} else {
				known.processes = append(known.processes, p)
			}
			continue
		}
		i, err := openProcess(p, rules)
		if err != nil {
			return images, errors.Join(err, p.Close())
		}
		images = append(images, i)
	}
	return images, checkPatterns(images)
}

// Plan writes the plans of a configuration's command or targets: what Run would
// do. It needs no privileges beyond reading the executables.
func Plan(w io.Writer, config Config) error {
	images, err := config.images()
	if err != nil {
		return err
	}
	for n, i := range images {
		if n > 0 {
			fmt.Fprintln(w)
		}
		_, writeErr := i.plan.WriteTo(w)
		err = errors.Join(err, writeErr, i.close())
	}
	return errors.Join(err, config.writeMemory(w, images))
}

// images opens what a configuration names, and starts nothing.
func (c *Config) images() ([]*image, error) {
	if c.Command == nil {
		return openTargets(c.Targets, c.Rules)
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
