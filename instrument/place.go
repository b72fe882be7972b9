package instrument

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/uspan/uspan/instrument/target"
)

// A place is a path of executables: what runs there is traced, now and later. A
// new version of a program comes as another file at the same path, in a new
// container or in the place of the old file: its processes run without probes.
type place struct {
	path string
	// inside says that the path leads nowhere in uspan's own file system, but in
	// those of containers.
	inside bool
	// images are the files there that are traced: none until there is one.
	images []*image
	// told are other files that were told of; true for those that cannot be traced.
	told map[fileID]bool
	// others are processes that run a file there that is not traced.
	others []int
}

// A fileID tells files at one path apart, and is the same in all containers of an
// image, for which stat(2) gives different devices.
type fileID struct {
	inode   uint64
	size    int64
	changed time.Time
}

func fileIDOf(info os.FileInfo) fileID {
	id := fileID{size: info.Size(), changed: info.ModTime()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		id.inode = s.Ino
	}
	return id
}

// A NewFileError is that nothing is left to trace at a path, where another file
// runs: it takes a new Trace.
type NewFileError struct {
	Path string
	// PIDs are the processes that run it.
	PIDs []int
	// First says that no file there has been traced.
	First bool
	// Written says that it is not another file yet: somebody writes into it.
	Written bool
}

func (e *NewFileError) Error() string { return e.What() + ": start uspan again to trace it" }

// What says what has happened.
func (e *NewFileError) What() string {
	if e.Written {
		return "somebody writes into " + e.Path + ", which has no probes any more"
	}
	if e.First {
		return fmt.Sprintf("%s %s %s now", processes(e.PIDs), runOrRuns(e.PIDs), e.Path)
	}
	return fmt.Sprintf("nothing of %s that is traced runs any more, but %s %s a new file by that path",
		e.Path, processes(e.PIDs), runOrRuns(e.PIDs))
}

// errWritten ends a trace of whose executable no process is left, and that is written.
var errWritten = errors.New("written")

// lookInterval is how often it is looked who runs what, at most.
const lookInterval = time.Second

// lookAround tells of new files at the places, once each, where anything has
// changed since the last time.
func (t *Trace) lookAround() {
	for _, i := range t.images {
		if !i.lease.broken() {
			continue
		}
		written := &NewFileError{Path: i.path, Written: true}
		if t.superseded = written; !i.every { // with Config.Follow: what was to be traced has ended
			t.config.Say(written.What())
			t.superseded = errWritten
		}
		return
	}
	if len(t.places) == 0 || time.Since(t.lookedAround) < lookInterval {
		return
	}
	t.lookedAround = time.Now()
	for _, p := range t.places {
		p.newFile(t)
	}
	executions, err := t.session.Executions()
	if err != nil {
		t.config.Log(err.Error())
	}
	exits, err := t.session.Exits()
	if err != nil {
		t.config.Log(err.Error())
	}
	others := slices.ContainsFunc(t.places, func(p *place) bool { return len(p.others) > 0 })
	if executions != t.executions || others && exits != t.exits {
		t.looks = 2 // what is counted is under way: one more, to be sure
	}
	t.executions, t.exits = executions, exits
	if t.looks > 0 {
		t.looks--
		t.look()
	}
}

// look finds out who runs what at the places now.
func (t *Trace) look() {
	for _, p := range t.places {
		if err := p.look(t); err != nil {
			t.config.Log(err.Error())
		}
	}
}

// newFile tells of a new file in uspan's own file system, even if nobody runs it.
func (p *place) newFile(t *Trace) {
	if p.inside {
		return
	}
	info, err := os.Stat(p.path)
	if err != nil || p.hasInode(info) {
		return // while it is written, there may be none
	}
	if _, told := p.told[fileIDOf(info)]; !told {
		p.told[fileIDOf(info)] = false
		t.config.Say(p.path + " is a new file: its processes are not traced, only those of the file that it was")
	}
}

func (p *place) hasInode(info os.FileInfo) bool {
	return slices.ContainsFunc(p.images, func(i *image) bool {
		own, err := i.file.Stat()
		return err == nil && os.SameFile(own, info)
	})
}

// look finds the processes that run a file that is not traced, and whether that is
// all that is left.
func (p *place) look(t *Trace) error {
	p.others = nil
	path := p.path
	if !p.inside {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			path, err = filepath.Abs(real)
		}
		if err != nil {
			return nil //nolint:nilerr // nothing is there
		}
	}
	pids, _, err := target.FindByPath(path)
	if err != nil {
		return err
	}
	traced := false
	for _, pid := range pids {
		known, other := p.judge(t, pid)
		traced = traced || known
		if other {
			p.others = append(p.others, pid)
		}
	}
	if len(p.others) > 0 && !traced && !p.runs(t) {
		t.superseded = &NewFileError{Path: p.path, PIDs: p.others, First: len(p.images) == 0}
	}
	return nil
}

// judge says whether a process runs a file that is traced here, or another, of which
// it tells.
func (p *place) judge(t *Trace, pid int) (traced, other bool) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false, false // it has ended
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, false
	}
	if !p.inside {
		// What a container has by the same path is not meant.
		if there, err := os.Stat(p.path); err != nil || !os.SameFile(there, info) {
			return false, false
		}
	}
	for _, i := range p.images {
		same, err := t.files.same(i.file, file)
		if err != nil { // better to say nothing than what may be wrong
			t.config.Log(err.Error())
			return false, false
		}
		if same {
			return true, false
		}
	}
	cannot, told := p.told[fileIDOf(info)]
	if cannot {
		return false, false
	}
	if !told {
		p.told[fileIDOf(info)] = false
		t.config.Say(p.newVersion(pid))
	}
	return false, true
}

func (p *place) newVersion(pid int) string {
	who := fmt.Sprintf("process %d", pid)
	if container := target.ContainerOf(pid); container != "" {
		who += " (container " + shortID(container) + ")"
	}
	if len(p.images) == 0 {
		return fmt.Sprintf("%s runs %s", who, p.path)
	}
	return fmt.Sprintf("%s runs a new file as %s: it is not traced, only the processes of the file that it was", who, p.path)
}

// runs says whether any process runs what is traced here, by whatever path.
func (p *place) runs(t *Trace) bool {
	for _, traced := range t.processes {
		if slices.Contains(p.images, traced.image) && traced.process.Alive() {
			return true
		}
	}
	return slices.ContainsFunc(p.images, func(i *image) bool {
		found, err := target.Find(i.inode, i.size())
		return err != nil || len(found.Same) > 0
	})
}

// unwatched says which processes run a file that is not traced, by place.
func (t *Trace) unwatched() (all []string) {
	for _, p := range t.places {
		switch {
		case len(p.others) == 0:
		case len(p.images) == 0:
			all = append(all, fmt.Sprintf("%s %s %s, which is not traced", processes(p.others), runOrRuns(p.others), p.path))
		default:
			all = append(all, fmt.Sprintf("%s %s another file as %s than the one that is traced", processes(p.others), runOrRuns(p.others), p.path))
		}
	}
	return all
}

// isPlace says whether another file may come by a path: what /proc has of a process
// is always the same.
func isPlace(path string) bool { return !strings.HasPrefix(path, "/proc/") }

// shortID is a container's id as people know it.
func shortID(container string) string { return container[:min(12, len(container))] }
