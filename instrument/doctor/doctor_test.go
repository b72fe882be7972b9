package doctor

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/kerneltest"
)

// asChild makes the test binary what probes are put on.
const asChild = "USPAN_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		if err := Child(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func command() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asChild+"=1")
	return cmd
}

// Where tests of the kernel side run, tracing works.
func TestExamine(t *testing.T) {
	kerneltest.Require(t)
	r := Examine(command)
	if !r.Works || r.Cost.SingleStepped == 0 {
		t.Errorf("%+v", r)
	}
	for _, c := range r.Checks {
		t.Logf("%+v", c)
	}
}

// On kernels that are too old the report says so, and on no other ones.
func TestBelowFloor(t *testing.T) {
	kerneltest.RequireRoot(t)
	tooOld := features.HaveProgramHelper(ebpf.Kprobe, asm.FnLoop) != nil
	r := Examine(command)
	if r.Works == tooOld {
		t.Errorf("works: %t", r.Works)
	}
	found := make(map[string]Check)
	for _, c := range r.Checks {
		found[c.Name] = c
	}
	if c := found["BTF"]; c.Status != OK {
		t.Errorf("BTF: %+v", c)
	}
	if c, there := found["programs"]; there != tooOld || tooOld && c.Status != Fails {
		t.Errorf("programs: %+v", c)
	}
	for name, wayOut := range map[string]string{
		"kernel": "Linux 6.1 or later is needed", "cookies": "Linux 5.15 or later is needed", "probes": "see what fails below",
	} {
		want := Fails
		if !tooOld {
			want, wayOut = OK, ""
		}
		if c := found[name]; c.Status != want || c.WayOut != wayOut {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// A lockdown is judged by what it forbids.
func TestLockdown(t *testing.T) {
	for _, test := range []struct {
		reads  error
		status Status
		found  string
	}{
		{nil, "", ": programs may read memory"},
		{os.ErrPermission, Note, ": not tried"},
		{ebpf.ErrNotSupported, Fails, ": programs may not read memory"},
	} {
		if c := lockdown(test.reads); c.Status != test.status || !strings.Contains(c.Found, test.found) || (c.WayOut == "") != (test.reads == nil) {
			t.Errorf("%v: %+v", test.reads, c)
		}
	}
}

func TestWriteTo(t *testing.T) {
	r := &Report{
		Checks: []Check{
			{Name: "kernel", Status: OK, Found: "Linux 6.18"},
			{Name: "capabilities", Status: Fails, Found: "without CAP_BPF", Means: "CAP_BPF is needed to load the programs", WayOut: "run uspan as root"},
			{Name: "uprobe_multi", Status: Note, Found: "not there", Means: "300 probes at most"},
		},
		Cost: Cost{Emulated: 567, SingleStepped: 10_912},
	}
	want := `kernel             ok     Linux 6.18
capabilities       fails  without CAP_BPF
                          CAP_BPF is needed to load the programs
                          → run uspan as root
uprobe_multi       note   not there
                          300 probes at most

a probe costs 567ns    where the kernel emulates the instruction
a probe costs 10.9µs   where it single-steps it
functions cannot be traced here: see what fails
`
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r = &Report{Works: true}
	b.Reset()
	r.WriteTo(&b)
	if b.String() != "\nfunctions can be traced here\n" {
		t.Errorf("%q", b.String())
	}
}
