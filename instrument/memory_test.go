package instrument

import (
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/internal/testprog"
)

// Where uspan's cgroup has little memory left there are fewer open calls, or a
// clear error.
func TestBudget(t *testing.T) {
	if err := (budget{}).fit(nil, nil, nil); err != nil {
		t.Errorf("no limit: %v", err)
	}
	file, err := gobin.Open(testprog.Build(t, "testdata/counting", testprog.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p, err := plan.Build(file, plan.Rules{Patterns: []string{"main.*"}, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	plans := []*plan.Plan{p}
	whole, err := attach.MemoryOf(plans, attach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const own = 32 << 20
	full := whole.Most() + own
	for name, test := range map[string]struct {
		budget    budget
		openCalls int
		want      int
		says      string // what is said, or the error
	}{
		"enough":             {budget{full, true}, 0, 0, ""},
		"one byte less":      {budget{full - 1, true}, 0, attach.DefaultOpenCalls / 2, "there is room for 131072 open calls at any moment"},
		"half":               {budget{full / 2, true}, 0, attach.DefaultOpenCalls / 4, "there is room for 65536 open calls at any moment"},
		"none":               {budget{0, true}, 0, -1, "uspan needs some 47 MiB of memory, 15 MiB of it for BPF maps, and its cgroup has 0 MiB left: give it more"},
		"too little":         {budget{own, true}, 0, -1, "uspan needs some 47 MiB of memory"},
		"asked for and full": {budget{full / 2, true}, 1 << 18, -1, "there is room for --max-open-calls 65536"},
		"asked for":          {budget{full, true}, 1 << 18, 1 << 18, ""},
	} {
		options := attach.Options{OpenCalls: test.openCalls}
		said := ""
		err := test.budget.fitBeside(own, plans, &options, func(message string) { said += message })
		if err != nil {
			said, options.OpenCalls = err.Error(), -1
		}
		if options.OpenCalls != test.want || !strings.Contains(said, test.says) || test.says == "" && said != "" {
			t.Errorf("%s: %d open calls, %q", name, options.OpenCalls, said)
		}
	}
}
