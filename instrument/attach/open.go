package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
)

// Open takes the calls out of the kernel that have begun and not ended: those of
// one process, or of all with pid 0. Each record has the arguments and no end; one
// of kind EventLink precedes that of a root with a link.
// For processes that have ended, or after Detach: a call that runs on would
// lose its return.
func (s *Session) Open(pid int) ([]bpf.Record, error) {
	var records []bpf.Record
	var goroutines []bpf.GoroutineKey
	var frames []bpf.FrameKey
	of := func(tgid uint32) bool { return pid == 0 || tgid == uint32(pid) }
	open := func(key bpf.FrameKey, frame *bpf.Frame) {
		frames = append(frames, key)
		records = s.open(records, key, frame)
	}
	err := errors.Join(
		walk(s.objects.Goroutines, func(key bpf.GoroutineKey, goroutine *bpf.Goroutine) {
			if !of(key.Tgid) {
				return
			}
			goroutines = append(goroutines, key)
			for level := range min(goroutine.Level, uint32(len(goroutine.Outer))) {
				open(bpf.FrameKey{G: key.G, Tgid: key.Tgid, Level: level}, &goroutine.Outer[level])
			}
		}),
		walk(s.objects.Frames, func(key bpf.FrameKey, frame *bpf.Frame) {
			if of(key.Tgid) {
				open(key, frame)
			}
		}))
	if err != nil {
		return records, fmt.Errorf("read the open calls: %w", err)
	}
	var errs []error
	for _, key := range frames {
		errs = append(errs, remove(s.objects.Frames, key), remove(s.objects.Values, key))
	}
	for _, key := range goroutines {
		errs = append(errs, remove(s.objects.Goroutines, key))
	}
	if err := errors.Join(errs...); err != nil {
		return records, fmt.Errorf("remove the open calls: %w", err)
	}
	return records, s.drop(pid)
}

// open appends what there is to tell of an open call.
func (s *Session) open(records []bpf.Record, key bpf.FrameKey, frame *bpf.Frame) []bpf.Record {
	if frame.Event.Flags&bpf.EventLinked != 0 {
		records = append(records, bpf.Record{Event: bpf.Event{
			Kind: bpf.EventLink, Tgid: key.Tgid, Span: frame.Event.Span,
			Trace: frame.Outer.Trace, Parent: frame.Outer.Span,
		}})
	}
	record := bpf.Record{Event: frame.Event}
	record.Kind = bpf.EventCall
	record.Values = s.args(key, &record.Event)
	return append(records, record)
}

// drop removes what no call that is open needs: arguments that were kept for calls
// that never began, panics that were under way, and which `go` statements have run:
// another process may have the id next. (Children are told apart by the number of
// their process.)
func (s *Session) drop(pid int) error {
	of := func(tgid uint32) bool { return pid == 0 || tgid == uint32(pid) }
	if pid == 0 {
		// Those of a process that has ended are given up by the programs.
		if err := s.giveUp(); err != nil {
			return err
		}
	}
	return errors.Join(
		removeAll(s.objects.Values, func(key bpf.FrameKey) bool { return key.Level >= bpf.LevelLate && of(key.Tgid) }),
		removeAll(s.objects.Panics, func(key bpf.FrameKey) bool { return of(key.Tgid) }),
		removeAll(s.objects.Statements, func(key bpf.StatementKey) bool { return of(key.Tgid) }))
}

// giveUp counts as lost the calls whose hits still wait to be told.
func (s *Session) giveUp() error {
	err := walk(s.objects.Lates, func(key bpf.GoroutineKey, late *bpf.Late) {
		if late.Count > uint32(len(late.Hits)) { // they are counted
			return
		}
		for _, hit := range late.Hits[:late.Count] {
			if hit.Leaving == 0 {
				s.givenUp[bpf.CookieFunction(hit.Cookie)]++
			}
		}
	})
	if err != nil {
		return fmt.Errorf("read the calls that were put off: %w", err)
	}
	return removeAll(s.objects.Lates, func(bpf.GoroutineKey) bool { return true })
}

// removeAll removes the entries of a map whose keys are wanted.
func removeAll[K any](m *ebpf.Map, wanted func(K) bool) error {
	var keys []K
	errs := []error{walkKeys(m, func(key K) {
		if wanted(key) {
			keys = append(keys, key)
		}
	})}
	for _, key := range keys {
		errs = append(errs, remove(m, key))
	}
	return errors.Join(errs...)
}

// args are the captured arguments of an open call.
func (s *Session) args(key bpf.FrameKey, event *bpf.Event) []byte {
	if event.Args == 0 {
		return nil
	}
	raw, err := s.objects.Values.LookupBytes(key)
	if err != nil || len(raw) < bpf.ValuesBytes+int(event.Args) {
		event.Args = 0
		event.Flags |= bpf.EventValuesLost
		return nil
	}
	return raw[bpf.ValuesBytes:][:event.Args]
}

// InUse counts the entries of the maps that open calls have, by the map's name: when
// no call is open there is none; and of the `go` statements that have run, which are
// there until the process ends.
func (s *Session) InUse() (map[string]int, error) {
	all := make(map[string]int)
	for name, m := range map[string]*ebpf.Map{
		"frames":     s.objects.Frames,
		"goroutines": s.objects.Goroutines,
		"lates":      s.objects.Lates,
		"panics":     s.objects.Panics,
		"values":     s.objects.Values,

		"statements": s.objects.Statements,
	} {
		if err := walkKeys(m, func([16]byte) { all[name]++ }); err != nil {
			return nil, fmt.Errorf("count the %s: %w", name, err)
		}
	}
	return all, nil
}

func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}
