package bpf

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/uspan/uspan/internal/kerneltest"
)

// TestStack looks at the machine code that the kernel makes of the programs: none
// takes its stack from memory of the processor, where a thread that is preempted
// loses it (see stack.h). A program for which nothing is done shows what that
// looks like, on kernels that do it.
func TestStack(t *testing.T) {
	kerneltest.Require(t)
	objects := loadPrograms(t, ^uint64(0), false, 128, 1024)
	for _, p := range []*ebpf.Program{objects.Enter, objects.Leave, objects.Unwound, objects.Spawned, objects.Tally} {
		if usesStackOfProcessor(t, p) {
			t.Errorf("%v has its stack in memory of the processor", p)
		}
	}

	careless, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.Kprobe,
		License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -256, 1, asm.Word),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer careless.Close()
	t.Logf("on this kernel, programs have their stack in memory of the processor: %v", usesStackOfProcessor(t, careless))
}

// usesStackOfProcessor looks for what adds the place of a processor's memory to an
// address: `add r9, gs:[...]` on amd64 (emit_private_frame_ptr in
// arch/x86/net/bpf_jit_comp.c), and reading TPIDR_EL1 or TPIDR_EL2 on arm64
// (emit_percpu_ptr in arch/arm64/net/bpf_jit_comp.c).
func usesStackOfProcessor(t *testing.T, p *ebpf.Program) bool {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	code, ok := info.JitedInsns()
	if !ok || len(code) == 0 {
		t.Fatalf("the kernel does not show the machine code of %v (kernel.kptr_restrict, net.core.bpf_jit_enable)", p)
	}
	if runtime.GOARCH == "amd64" {
		return bytes.Contains(code, []byte{0x65, 0x4c, 0x03, 0x0c, 0x25})
	}
	for at := 0; at+4 <= len(code); at += 4 {
		switch binary.LittleEndian.Uint32(code[at:]) &^ 0x1f {
		case 0xd538d080, 0xd53cd040:
			return true
		}
	}
	return false
}
