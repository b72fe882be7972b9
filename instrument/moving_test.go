package instrument_test

import (
	"fmt"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// currentG is what a program's func g() uintptr, where the runtime keeps what it knows
// of this goroutine, is made of.
const currentG = `-- g_amd64.s --
#include "textflag.h"

TEXT ·g(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET
-- g_arm64.s --
#include "textflag.h"

TEXT ·g(SB), NOSPLIT, $0-8
	MOVD g, ret+0(FP)
	RET
`

// movingProgram calls a function while the kernel makes a huge page of the memory
// that its goroutine lies in, and splits it again, three hundred times.
const movingProgram = `
-- go.mod --
module example.com/moving

go 1.21
` + currentG + `-- main.go --
package main

import (
	"fmt"
	"sync/atomic"
	"syscall"
)

// g is where the runtime keeps what it knows of this goroutine.
func g() uintptr

//go:noinline
func call(n int) int { sum += n; return sum }

var sum int

func advise(addr, length, advice uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, addr, length, advice); errno != 0 {
		return errno
	}
	return nil
}

func main() {
	const (
		page     = 4096
		hugePage = 2 << 20
		cold     = 20 // MADV_COLD, of a part of a huge page, splits it
		collapse = 25 // MADV_COLLAPSE, from Linux 6.1 on, makes one
	)
	self := g()
	var moved atomic.Int64
	go func() {
		for moved.Load() < 300 {
			err := advise(self&^(hugePage-1), hugePage, collapse)
			if err == nil {
				err = advise(self&^(page-1), page, cold)
			}
			if err != nil && err != syscall.EAGAIN && err != syscall.EBUSY {
				fmt.Println(0, err)
				syscall.Exit(0)
			}
			moved.Add(1)
		}
	}()
	calls := 0
	for ; moved.Load() < 300; calls++ {
		call(calls)
	}
	fmt.Println(calls)
}
`

// While the kernel moves the memory of a goroutine, no program can read it. A call
// that has been seen to begin is seen to end all the same; one that has not is
// counted.
func TestMovingMemory(t *testing.T) {
	exe := testprog.Build(t, movingProgram, testprog.Options{})
	kerneltest.Require(t)
	spans, summary, printed := trace(t,
		instrument.Config{Rules: plan.Rules{Patterns: []string{"main.call"}}},
		target.Command{Path: exe})
	var calls int
	var failure string
	fmt.Sscan(string(printed), &calls, &failure)
	if failure != "" {
		kerneltest.Missing(t, "this kernel makes no huge pages when it is told to: %s", printed)
	}
	t.Logf("%d calls, %d spans, %+v", calls, len(spans), summary)
	for _, s := range spans {
		if s.Incomplete != "" {
			t.Fatalf("the end of a call was lost: %s", s.Incomplete)
		}
	}
	if lost := calls - len(spans); lost < 0 || uint64(lost) > summary.LostSpans() {
		t.Errorf("%d spans of %d calls, %d lost", len(spans), calls, summary.LostSpans())
	}
}
