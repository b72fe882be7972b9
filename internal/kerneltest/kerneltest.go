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
	RequireRoot(t)
	if err := features.HaveProgramHelper(ebpf.Kprobe, asm.FnLoop); err != nil {
		stop(t)("needs bpf_loop (Linux 5.17): %v", err)
	}
}

// RequireRoot is Require for tests that take any kernel.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("TESTPROG_LIST") != "" {
		t.Skip("its programs are built, for another machine")
	}
	if os.Geteuid() != 0 {
		stop(t)("needs root: run make test")
	}
}

// Missing skips a test for which the machine lacks something, and fails it
// instead when REQUIRE_BPF is 1.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	stop(t)(format, args...)
}

func stop(t testing.TB) func(format string, args ...any) {
	if os.Getenv("REQUIRE_BPF") == "1" {
		return t.Fatalf
	}
	return t.Skipf
}

// UprobeMulti says whether the kernel has uprobe_multi links (Linux 6.6): one for
// all probes, not one for each.
func UprobeMulti() bool { return features.HaveBPFLinkUprobeMulti() == nil }
