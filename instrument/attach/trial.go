package attach

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// A Trial is a program for probes that does nothing but count how often it runs: to
// find out what the kernel can do, and what a probe costs.
type Trial struct {
	hits    *ebpf.Map
	program *ebpf.Program
	multi   bool
}

// OpenTrial loads the program.
func OpenTrial() (*Trial, error) {
	hits, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, loadError(err)
	}
	t := &Trial{hits: hits, multi: hasMulti()}
	spec := trialSpec(asm.Instructions{
		asm.LoadMapValue(asm.R1, hits.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
	})
	if t.multi {
		spec.AttachType = ebpf.AttachTraceUprobeMulti
	}
	if t.program, err = ebpf.NewProgram(spec); err != nil {
		return nil, errors.Join(loadError(err), hits.Close())
	}
	return t, nil
}

// trialSpec is a program for probes that does something and returns.
func trialSpec(what asm.Instructions) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Name:          "trial",
		Type:          ebpf.Kprobe,
		License:       "Dual BSD/GPL",
		KernelVersion: 1, // see setKernelVersion
		Instructions:  append(what, asm.Mov.Imm(asm.R0, 0), asm.Return()),
	}
}

// Place puts a probe at an offset of an executable, in one process or, with pid 0, in
// all. It is there until it is closed.
func (t *Trial) Place(path string, offset uint64, pid int) (io.Closer, error) {
	if t.multi {
		return newMultiProbes(t.program, path, []uint64{offset}, []uint64{0}, pid)
	}
	placed, failed, err := newPerfProbes(t.program, path, addresses{offsets: []uint64{offset}, cookies: []uint64{0}, owners: []int{0}}, pid)
	if err == nil {
		err = failed[0]
	}
	if err != nil {
		return nil, perfDenied(err)
	}
	return placed[0], nil
}

// Hits is how often the program has run.
func (t *Trial) Hits() (hits uint64, err error) { return hits, t.hits.Lookup(uint32(0), &hits) }

// Close frees the program.
func (t *Trial) Close() error { return errors.Join(t.program.Close(), t.hits.Close()) }

// Features are what uspan asks of a kernel. An error says that it is not there, or why
// it could not be asked for.
type Features struct {
	// Missing is what the programs cannot do without, or nothing.
	Missing string
	// Multi is about uprobe_multi links, Cookies about those of probes, Sleepable about
	// programs that may sleep, Reads about those that read the kernel's memory, which a
	// lockdown can forbid.
	Multi, Cookies, Sleepable, Reads error
}

// LookForFeatures asks the kernel.
func LookForFeatures() Features {
	f := Features{
		Missing: missing(),
		Multi:   features.HaveBPFLinkUprobeMulti(),
		Cookies: features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie),
		Reads:   features.HaveProgramHelper(ebpf.Kprobe, asm.FnProbeReadKernel),
	}
	spec := trialSpec(nil)
	spec.Flags = unix.BPF_F_SLEEPABLE
	program, err := ebpf.NewProgram(spec)
	if err == nil {
		err = program.Close()
	}
	if err != nil {
		f.Sleepable = fmt.Errorf("load a program that may sleep: %w", err)
	}
	return f
}

// FiltersProcesses says whether uspan takes the kernel to put probes of a uprobe_multi
// link into one process alone, by its version.
func FiltersProcesses() bool { return filtersProcesses() }
