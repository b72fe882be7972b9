package instrument

import (
	"errors"
	"fmt"
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

// targets are what process ids and paths lead to: one image an executable,
// however many names it has.
type targets struct {
	rules  plan.Rules
	files  *files
	images []*image
}

// openTargets opens process ids and paths. Without files, which ask the kernel,
// an executable of several containers may be taken for several.
func openTargets(names []string, rules plan.Rules, f *files) (images []*image, err error) {
	t := &targets{rules: rules, files: f}
	for _, name := range names {
		if pid, notNumber := strconv.Atoi(name); notNumber == nil {
			err = t.process(pid)
		} else {
			err = t.path(name)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = checkPatterns(t.images)
	}
	if err != nil {
		for _, i := range t.images {
			err = errors.Join(err, i.close())
		}
		return nil, err
	}
	return t.images, nil
}

// add opens a file as an image, or finds the image that it is. It takes over
// file.
func (t *targets) add(file *os.File, path string) (*image, error) {
	for _, i := range t.images {
		same, err := t.files.same(i.file, file)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if same {
			return i, file.Close()
		}
	}
	i, err := openImage(file, path, t.rules)
	if err != nil {
		return nil, err
	}
	t.images = append(t.images, i)
	return i, nil
}

// process adds a process and the executable that it runs, whatever is at the
// executable's path now.
func (t *targets) process(pid int) error {
	p, err := target.Open(pid)
	if err != nil {
		return err
	}
	file, err := p.OpenExe()
	if err != nil {
		return errors.Join(err, p.Close())
	}
	i, err := t.add(file, p.ExePath())
	if err != nil {
		return errors.Join(fmt.Errorf("process %d: %w", pid, err), p.Close())
	}
	if i.has(pid) {
		return p.Close()
	}
	i.processes = append(i.processes, p)
	return nil
}

// path adds every process of an executable that is named by a path or, without
// a slash, as a shell would find it.
func (t *targets) path(name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		path = name // what is not executable may be read all the same
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.Contains(name, "/"):
		return fmt.Errorf("%s is neither a process id nor an executable in $PATH", name)
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(path, "/"):
		return t.elsewhere(path, err)
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory: name an executable", name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file: name an executable", name)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	i, err := t.add(file, path)
	if err != nil {
		return err
	}
	i.every = true
	return nil
}

// A shared is a file with the processes that run it.
type shared struct {
	file *os.File
	pids []int
	// container is that of the first process.
	container string
}

// elsewhere adds the executable that processes in other mount namespaces,
// containers, see under a path that leads nowhere in uspan's own; notFound is
// the error where there are none. Where containers have it from different
// images, it may be several files, but they have to be one build: another
// program by the same path is not meant.
func (t *targets) elsewhere(path string, notFound error) error {
	pids, hidden, err := target.FindByPath(path)
	if err != nil {
		return errors.Join(notFound, err)
	}
	all, err := t.share(pids)
	defer func() {
		for _, s := range all {
			s.file.Close()
		}
	}()
	switch {
	case err != nil:
		return err
	case len(all) == 0 && hidden > 0:
		return fmt.Errorf("%w; %s", notFound, hiddenProcesses(hidden))
	case len(all) == 0:
		return notFound
	}
	if len(all) > 1 {
		if built := builds(all); len(built) > 1 {
			return refuseDifferent(path, built)
		}
	}
	for len(all) > 0 {
		file := all[0].file
		all = all[1:]
		i, err := t.add(file, path)
		if err != nil {
			return err
		}
		i.every = true
	}
	return nil
}

// share opens the executables of processes, each once.
func (t *targets) share(pids []int) (all []*shared, err error) {
	for _, pid := range pids {
		p, err := target.Open(pid)
		if errors.Is(err, target.ErrNoProcess) {
			continue // it has ended
		}
		if err != nil {
			return all, err
		}
		file, err := p.OpenExe()
		container := p.Container()
		if err := errors.Join(err, p.Close()); err != nil {
			return all, err
		}
		known, err := t.sharer(all, file)
		if err != nil {
			return all, errors.Join(err, file.Close())
		}
		if known == nil {
			known = &shared{file: file, container: container}
			all = append(all, known)
		} else if err := file.Close(); err != nil {
			return all, err
		}
		known.pids = append(known.pids, pid)
	}
	return all, nil
}

// sharer is the one that has a file, or nil.
func (t *targets) sharer(all []*shared, file *os.File) (*shared, error) {
	for _, s := range all {
		if same, err := t.files.same(s.file, file); err != nil || same {
			return s, err
		}
	}
	return nil, nil
}

// builds puts files together that came of one build, although they are different
// ones. A file that tells no build is one of its own.
func builds(all []*shared) (built [][]*shared) {
	var ids []string
	for _, s := range all {
		id := buildID(s.file)
		if n := slices.Index(ids, id); n >= 0 && id != "" {
			built[n] = append(built[n], s)
			continue
		}
		ids, built = append(ids, id), append(built, []*shared{s})
	}
	return built
}

func buildID(file *os.File) string {
	binary, err := gobin.NewFile(file, file.Name())
	if err != nil {
		return ""
	}
	defer binary.Close()
	return binary.BuildID
}

func refuseDifferent(path string, built [][]*shared) error {
	var which []string
	for _, all := range built {
		var pids []int
		for _, s := range all {
			pids = append(pids, s.pids...)
		}
		one := "that of " + processes(pids)
		if id := all[0].container; id != "" {
			one += " (container " + id[:min(12, len(id))] + ")"
		}
		which = append(which, one)
	}
	return fmt.Errorf("%s is %d different programs in different containers: %s: "+
		"name process ids, or all processes of one of the files as /proc/%d/exe",
		path, len(built), strings.Join(which, ", "), built[0][0].pids[0])
}

// processes names process ids.
func processes(pids []int) string {
	var names []string
	for _, pid := range pids {
		names = append(names, strconv.Itoa(pid))
	}
	if len(names) == 1 {
		return "process " + names[0]
	}
	return "processes " + strings.Join(names, ", ")
}

// runOrRuns is the verb behind processes.
func runOrRuns(pids []int) string {
	if len(pids) == 1 {
		return "runs"
	}
	return "run"
}
