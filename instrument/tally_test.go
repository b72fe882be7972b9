package instrument_test

import (
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// Calls counted by their stacks are as many as the target counts itself, over
// recursion, stacks that grow, and hundreds of goroutines.
func TestTally(t *testing.T) {
	exe := testprog.Build(t, countingArchive(t), testprog.Options{})
	kerneltest.Require(t)
	running, summary, printed := countCalls(t,
		instrument.Config{Rules: plan.Rules{Patterns: counted}, Tally: true},
		target.Command{Path: exe, Args: []string{"-goroutines=100"}})
	truth := truthIn(t, printed)
	if summary.Spans != 0 || summary.Lost.StacksFull != 0 {
		t.Fatalf("%+v", summary)
	}
	counts, err := running.Tally()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	for i, c := range counts {
		got[c.Stack.Frames[0].Function] += int64(c.Calls)
		if i > 0 && c.Calls < counts[i-1].Calls {
			t.Errorf("stack %d has %d calls, that before it %d", i, c.Calls, counts[i-1].Calls)
		}
		if len(c.Stack.Frames) < 2 && !c.Stack.Cut {
			t.Errorf("a stack without a caller: %s", c.Stack.Text)
		}
	}
	for _, name := range counted {
		if got[name] != truth[name] || got[name] == 0 {
			t.Errorf("%s: %d calls, the target counts %d", name, got[name], truth[name])
		}
	}
}
