// Package kerneltest guards the tests that need a kernel that takes BPF
// programs and uprobes, and the privileges to use them.
package kerneltest

import (
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
)

// Require skips a test where the kernel or the privileges do not let it run,
// and fails it instead when REQUIRE_BPF is 1. A test calls it when the programs
// that it needs are built: where they are built for another machine, which has
// no compiler, the test ends here.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv("TESTPROG_LIST") != "" {
		t.Skip("its programs are built, for another machine")
	}
	stop := t.Skipf
	if os.Getenv("REQUIRE_BPF") == "1" {
		stop = t.Fatalf
	}
	if os.Geteuid() != 0 {
		stop("needs root: run make test")
	}
	if err := features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie); err != nil {
		stop("needs cookies for probes (Linux 5.15): %v", err)
	}
}

// UprobeMulti says whether the kernel has uprobe_multi links (Linux 6.6): one for
// all probes, not one for each.
func UprobeMulti() bool { return features.HaveBPFLinkUprobeMulti() == nil }
