package attach

import (
	"fmt"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// WatchSignals begins to tell signals of uspan's own that the kernel sent (the
// terminal: Ctrl-C) from those that a process sent: see KernelSignals.
func (s *Session) WatchSignals() error {
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{
		Name:    "signal_generate",
		Program: s.objects.SeeSignal,
	})
	if err != nil {
		return fmt.Errorf("watch the signals of the terminal: %w", err)
	}
	s.signals = append(s.signals, l)
	return nil
}

// KernelSignals counts how often the kernel itself sent a signal to uspan since
// WatchSignals.
func (s *Session) KernelSignals(signal unix.Signal) int {
	var counts [65]uint32
	if err := s.objects.KernelSignals.Get(&counts); err != nil || int(signal) >= len(counts) {
		return 0
	}
	return int(counts[signal])
}
