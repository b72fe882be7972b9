package instrument

import (
	"os/exec"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// A process that executes one file after the other is opened with one of them.
func TestOpenRunning(t *testing.T) {
	built := testprog.Build(t, `
-- go.mod --
module example.com/turns

go 1.18
-- main.go --
package main

import (
	"os"
	"syscall"
)

func main() { syscall.Exec(os.Args[1], []string{os.Args[1], os.Args[0]}, nil) }
`, testprog.Options{})
	kerneltest.RequireRoot(t)
	command := exec.Command(testprog.Copy(t, built), testprog.Copy(t, built))
	if err := testprog.StartBusy(command); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Kill()
	opened := 0
	for begun := time.Now(); time.Since(begun) < 2*time.Second; opened++ {
		p, file, err := openRunning(command.Process.Pid)
		if err != nil {
			t.Fatalf("after %d times: %v", opened, err)
		}
		file.Close()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("opened %d times", opened)
}
