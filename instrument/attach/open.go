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
	var keys []bpf.FrameKey
	var key bpf.FrameKey
	var frame bpf.Frame
	frames := s.objects.Frames.Iterate()
	for frames.Next(&key, &frame) {
		if pid != 0 && key.Tgid != uint32(pid) {
			continue
		}
		keys = append(keys, key)
		if frame.Event.Flags&bpf.EventLinked != 0 {
			records = append(records, bpf.Record{Event: bpf.Event{
				Kind: bpf.EventLink, Tgid: key.Tgid, Span: frame.Event.Span,
				Trace: frame.Outer.Trace, Parent: frame.Outer.Span,
			}})
		}
		record := bpf.Record{Event: frame.Event}
		record.Kind = bpf.EventCall
		record.Values = s.args(key, &record.Event)
		records = append(records, record)
	}
	if err := frames.Err(); err != nil {
		return records, fmt.Errorf("read the open calls: %w", err)
	}
	for _, key := range keys {
		err := errors.Join(
			remove(s.objects.Frames, key),
			remove(s.objects.Values, key),
			remove(s.objects.Goroutines, bpf.GoroutineKey{G: key.G, Tgid: key.Tgid}))
		if err != nil {
			return records, fmt.Errorf("remove the open calls: %w", err)
		}
	}
	return records, errors.Join(s.dropKept(pid), s.dropPanics(pid), s.dropStatements(pid))
}

// dropStatements forgets which `go` statements have run: another process may have
// the id next. Children are told apart by the number of their process.
func (s *Session) dropStatements(pid int) error {
	var key bpf.StatementKey
	var keys []bpf.StatementKey
	var value uint32
	statements := s.objects.Statements.Iterate()
	for statements.Next(&key, &value) {
		if pid == 0 || key.Tgid == uint32(pid) {
			keys = append(keys, key)
		}
	}
	errs := []error{statements.Err()}
	for _, key := range keys {
		errs = append(errs, remove(s.objects.Statements, key))
	}
	return errors.Join(errs...)
}

// dropPanics removes panics that were under way.
func (s *Session) dropPanics(pid int) error {
	var key bpf.FrameKey
	var keys []bpf.FrameKey
	var value []byte
	panics := s.objects.Panics.Iterate()
	for panics.Next(&key, &value) {
		if pid == 0 || key.Tgid == uint32(pid) {
			keys = append(keys, key)
		}
	}
	errs := []error{panics.Err()}
	for _, key := range keys {
		errs = append(errs, remove(s.objects.Panics, key))
	}
	return errors.Join(errs...)
}

// dropKept removes arguments that were kept for calls that never began.
func (s *Session) dropKept(pid int) error {
	var key bpf.FrameKey
	var keys []bpf.FrameKey
	var value []byte
	values := s.objects.Values.Iterate()
	for values.Next(&key, &value) {
		if key.Level == bpf.LevelKept && (pid == 0 || key.Tgid == uint32(pid)) {
			keys = append(keys, key)
		}
	}
	errs := []error{values.Err()}
	for _, key := range keys {
		errs = append(errs, remove(s.objects.Values, key))
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
		"panics":     s.objects.Panics,
		"values":     s.objects.Values,

		"statements": s.objects.Statements,
	} {
		var key, value []byte
		entries := m.Iterate()
		for entries.Next(&key, &value) {
			all[name]++
		}
		if err := entries.Err(); err != nil {
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
