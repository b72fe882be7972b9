package instrument

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
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
	say    func(string)
	images []*image
	places []*place
	// absent are paths where nothing is and nothing runs.
	absent []*absentError
}

// An absentError is that neither is there a file at a path, nor does any process run
// one there.
type absentError struct {
	path string
	err  error
}

func (e *absentError) Error() string { return fmt.Sprintf("%v, and no process runs it", e.err) }
func (e *absentError) Unwrap() error { return e.err }

// openTargets opens process ids and paths. Without files, which ask the kernel,
// an executable of several containers may be taken for several.
func openTargets(names []string, rules plan.Rules, f *files, say func(string)) (_ []*image, _ []*place, err error) {
	t := &targets{rules: rules, files: f, say: say}
	for _, name := range names {
		if pid, notNumber := strconv.Atoi(name); notNumber == nil {
			err = t.process(pid)
		} else {
			err = t.path(name)
		}
		var absent *absentError
		if errors.As(err, &absent) {
			t.absent = append(t.absent, absent)
			err = nil
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = t.wait()
	}
	if err == nil {
		err = checkPatterns(t.images)
	}
	if err != nil {
		for _, i := range t.images {
			err = errors.Join(err, i.close())
		}
		return nil, nil, err
	}
	return t.images, t.places, nil
}

// wait lets paths where nothing is yet be waited for, beside others where something is.
func (t *targets) wait() error {
	for _, absent := range t.absent {
		if len(t.images) == 0 || t.files == nil { // nothing to do meanwhile, or no time to wait
			return absent
		}
		t.say(absent.Error() + ": waiting for that")
		t.places = append(t.places, &place{path: absent.path, inside: true, told: make(map[fileID]bool)})
	}
	return nil
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

// openRunning takes hold of a process and of the file that it runs: the later one where
// it executes another in between, as a process does that was started a moment ago.
func openRunning(pid int) (*target.Process, *os.File, error) {
	for tries := 1; ; tries++ {
		p, err := target.Open(pid)
		if err != nil {
			return nil, nil, err
		}
		file, err := p.OpenExe()
		if err == nil {
			return p, file, nil
		}
		alive := p.Alive()
		err = errors.Join(err, p.Close())
		if !alive || !errors.Is(err, target.ErrNoProcess) || tries == 10 {
			return nil, nil, err
		}
	}
}

// process adds a process and the executable that it runs, whatever is at the
// executable's path now.
func (t *targets) process(pid int) error {
	p, file, err := openRunning(pid)
	if err != nil {
		return err
	}
	i, err := t.add(file, p.ExePath())
	if errors.Is(err, gobin.ErrNotGo) {
		err = cmp.Or(goLibrary(p), err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("process %d: %w", pid, err), p.Close())
	}
	if i.has(pid) {
		return p.Close()
	}
	i.processes = append(i.processes, p)
	return nil
}

// goLibrary is why the Go code is not traced that a program of another language has
// loaded; nil where it has loaded none.
func goLibrary(p *target.Process) error {
	paths, err := p.Libraries()
	if err != nil {
		return nil //nolint:nilerr // there is another error to tell of
	}
	for _, path := range paths {
		file, err := p.OpenLibrary(path)
		if err != nil {
			continue
		}
		if gobin.BuiltByGo(file) {
			_, err = gobin.NewFile(file, path)
		}
		file.Close()
		if err != nil {
			return err
		}
	}
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
	if isPlace(path) {
		t.places = append(t.places, &place{path: path, images: []*image{i}, told: make(map[fileID]bool)})
	}
	return nil
}

// A shared is a file with the processes that run it.
type shared struct {
	file *os.File
	pids []int
	// container is that of the first process.
	container string
}

func (s *shared) String() string {
	who := processes(s.pids)
	if s.container != "" {
		who += " (container " + shortID(s.container) + ")"
	}
	return who
}

// elsewhere adds the executable that processes in other mount namespaces,
// containers, see under a path that leads nowhere in uspan's own; notFound is
// the error where there are none. Where containers have it from different images,
// or from several versions of one, it is several files, each of which is traced that
// can be.
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
		return &absentError{path, notFound}
	}
	p := &place{path: path, inside: true, told: make(map[fileID]bool)}
	var refused []error
	for len(all) > 0 {
		s := all[0]
		all = all[1:]
		info, err := s.file.Stat()
		if err != nil {
			return errors.Join(err, s.file.Close())
		}
		i, err := t.add(s.file, path)
		if err != nil {
			refused = append(refused, fmt.Errorf("%s of %s: %w", path, s, err))
			p.told[fileIDOf(info)] = true
			continue
		}
		i.every = true
		p.images = append(p.images, i)
	}
	if len(p.images) == 0 {
		return refused[0]
	}
	for _, err := range refused {
		t.say("not traced: " + err.Error())
	}
	t.places = append(t.places, p)
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
		if errors.Is(err, target.ErrNoProcess) {
			if err := p.Close(); err != nil {
				return all, err
			}
			continue
		}
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
