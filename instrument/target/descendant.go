package target

// A Descendant is a process that another has started, or one that it has started.
type Descendant struct {
	PID     int
	started uint64 // as Process.StartTime
}

// Alive says whether the process has not ended, so that its id is still its own.
func (d Descendant) Alive() bool {
	s, err := readStat(d.PID)
	return err == nil && s.started == d.started && !s.zombie()
}

// Descendants looks for the processes that others have started, and those that these
// have. One whose parent has ended is nobody's any more.
func Descendants(pids []int) ([]Descendant, error) {
	children := make(map[int][]Descendant)
	_, err := find(func(pid int) error {
		s, err := readStat(pid)
		if err == nil && !s.zombie() {
			children[s.parent] = append(children[s.parent], Descendant{pid, s.started})
		}
		return err
	})
	var all []Descendant
	for _, pid := range pids {
		all = append(all, children[pid]...)
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].PID]...)
	}
	return all, err
}
