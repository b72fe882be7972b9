package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/uspan/uspan/bpf"
)

// entering is the program at entries.
func (s *Session) entering() *ebpf.Program {
	if s.tally {
		return s.objects.Tally
	}
	return s.objects.Enter
}

// Stack is a stack by the number that an event has of it. False where the kernel
// does not have it.
func (s *Session) Stack(number uint64) (stack bpf.Stack, ok bool, err error) {
	switch err = s.objects.Stacks.Lookup(number, &stack); {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return stack, false, nil
	case err != nil:
		return stack, false, fmt.Errorf("read a stack: %w", err)
	}
	return stack, stack.Whole != 0, nil
}

// Tallies are the stacks of all calls so far, each with the number of calls that
// had it; with Options.Tally.
func (s *Session) Tallies() ([]bpf.Stack, error) {
	var all []bpf.Stack
	var number uint64
	var stack bpf.Stack
	stacks := s.objects.Stacks.Iterate()
	for stacks.Next(&number, &stack) {
		if stack.Whole != 0 && stack.Calls != 0 {
			all = append(all, stack)
		}
	}
	if err := stacks.Err(); err != nil {
		return nil, fmt.Errorf("read the stacks: %w", err)
	}
	return all, nil
}
