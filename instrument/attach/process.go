package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/uspan/uspan/bpf"
)

// watchProcesses lets the kernel side see what becomes of processes.
func (s *Session) watchProcesses() error {
	for name, program := range map[string]*ebpf.Program{
		"sched_process_exit": s.objects.SeeExit,
		"sched_process_exec": s.objects.SeeExec,
	} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: program})
		if err != nil {
			return fmt.Errorf("watch processes (%s): %w", name, err)
		}
		s.lives = append(s.lives, l)
	}
	if !s.follow {
		return nil
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: s.objects.SeeFork})
	if err != nil {
		return fmt.Errorf("watch the starts of processes: %w", err)
	}
	s.lives = append(s.lives, l)
	return nil
}

// Executions is how many processes have executed something since the session
// began.
func (s *Session) Executions() (n uint64, err error) {
	err = s.objects.Executions.Get(&n)
	return n, err
}

// Exits is how many processes have ended since then.
func (s *Session) Exits() (n uint64, err error) {
	err = s.objects.Exits.Get(&n)
	return n, err
}

// Watch makes the events of a process come that runs the executable of the plan
// with that index. Without it, only processes of executables that are attached
// in every process are targets.
func (s *Session) Watch(index, pid int) error {
	s.watches++
	process := bpf.Process{Binary: uint32(index), Number: s.watches}
	if err := s.objects.Processes.Put(uint32(pid), process); err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	s.watched[pid] = process
	return nil
}

// Forget takes away what the kernel side knows of a process that has ended. False: another
// target has its id by now, and there is nothing to tell the calls of the two apart by.
func (s *Session) Forget(pid int) (bool, error) {
	var process bpf.Process
	switch err := s.objects.Processes.Lookup(uint32(pid), &process); {
	case errors.Is(err, ebpf.ErrKeyNotExist): // as see_exit leaves it
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for process %d: %w", pid, err)
	}
	if process != s.watched[pid] {
		return false, nil
	}
	// it had ended when Watch came
	if err := remove(s.objects.Processes, uint32(pid)); err != nil {
		return false, fmt.Errorf("forget process %d: %w", pid, err)
	}
	return true, nil
}

// Unwatch ends to look at what becomes of processes: what is open stays open.
func (s *Session) Unwatch() error {
	var err error
	for _, l := range s.lives {
		err = errors.Join(err, l.Close())
	}
	s.lives = nil
	awaitProcessors()
	return err
}

// Relatives are the processes that were started by a target, or by another relative, or
// have executed something since they were a target: with Options.Follow they become
// targets with their first call of what is traced.
func (s *Session) Relatives() (pids []int, err error) {
	if err := walkKeys(s.objects.Relatives, func(pid uint32) { pids = append(pids, int(pid)) }); err != nil {
		return nil, fmt.Errorf("read the relatives of targets: %w", err)
	}
	return pids, nil
}

// Relate makes a process a relative of a target.
func (s *Session) Relate(pid int) error {
	if err := s.objects.Relatives.Put(uint32(pid), uint32(1)); err != nil {
		return fmt.Errorf("follow process %d: %w", pid, err)
	}
	return nil
}

// Unrelate ends Relate.
func (s *Session) Unrelate(pid int) error {
	if err := remove(s.objects.Relatives, uint32(pid)); err != nil {
		return fmt.Errorf("forget process %d: %w", pid, err)
	}
	return nil
}
