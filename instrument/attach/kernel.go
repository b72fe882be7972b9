package attach

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// hasMulti says whether the kernel has uprobe_multi links (Linux 6.6). Where the
// privileges do not even allow to ask, the loading of the programs will tell.
func hasMulti() bool {
	return !errors.Is(features.HaveBPFLinkUprobeMulti(), ebpf.ErrNotSupported)
}

// missing names what the kernel does not have that the programs cannot do
// without, or nothing.
func missing() string {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); errors.Is(err, os.ErrNotExist) {
		return "BTF (/sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF)"
	}
	for _, helper := range []struct {
		function asm.BuiltinFunc
		name     string
	}{
		{asm.FnRingbufOutput, "ring buffer for BPF programs (Linux 5.8)"},
		{asm.FnGetAttachCookie, "cookies for probes (Linux 5.15)"},
		{asm.FnLoop, "bpf_loop for BPF programs (Linux 5.17)"},
	} {
		if errors.Is(features.HaveProgramHelper(ebpf.Kprobe, helper.function), ebpf.ErrNotSupported) {
			return helper.name
		}
	}
	return ""
}

// filtersProcesses says whether the kernel puts the probes of a uprobe_multi link
// with a process id into that process alone, and into all of its threads: before
// Linux 6.10 it left out all threads but one (46ba0e49b642, "bpf: fix multi-uprobe
// PID filtering logic"). A kernel that has the correction in an older version only
// makes other processes of the executable pay, whose events the programs drop.
func filtersProcesses() bool {
	major, minor := release()
	return major > 6 || major == 6 && minor >= 10
}

// release is the kernel's version, 0.0 where it cannot be told.
func release() (major, minor int) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return 0, 0
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return 0, 0
	}
	return major, minor
}
