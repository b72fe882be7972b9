package instrument_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// written is a program of two versions whose instructions lie in different places.
const written = `
-- go.mod --
module example.com/written

go 1.18
-- main.go --
package main

import "os"

//go:noinline
func step(n int) int { return RESULT }

//go:noinline
func side(n int) int { return n }

func main() {
	sum := 0
	for i := 0; i < 1000; i++ {
		sum += step(i)
	}
	os.Stdout.WriteString("VERSION\n")
	if sum != SUM {
		os.Exit(3)
	}
}
`

func versionOf(t *testing.T, name, result, sum string) []byte {
	t.Helper()
	source := strings.NewReplacer("VERSION", name, "RESULT", result, "SUM", sum).Replace(written)
	data, err := os.ReadFile(testprog.Build(t, source, testprog.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An executable that is written into in place has no probes any more when the first
// byte of it changes: who writes waits until then.
func TestWrittenInPlace(t *testing.T) {
	first := versionOf(t, "first", "side(n) + 1", "500500")
	second := versionOf(t, "second", "(side(n) ^ 0x11223344) - 0x11223344 + n + side(1)", "0")
	kerneltest.Require(t)
	for _, ran := range []bool{false, true} {
		exe := filepath.Join(t.TempDir(), "app")
		if err := os.WriteFile(exe, first, 0o755); err != nil {
			t.Fatal(err)
		}
		var spans collector
		running, err := instrument.Start(instrument.Config{
			Targets: []string{exe}, Rules: plan.Rules{Patterns: []string{"main.*"}}, Outputs: []instrument.Output{&spans},
			Say: func(message string) { t.Log(message) }, Log: func(string) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := running.Run(context.Background())
			ended <- errors.Join(err, running.Close())
		}()
		if ran {
			if out, err := exec.Command(exe).CombinedOutput(); err != nil || string(out) != "first\n" {
				t.Errorf("%q, %v", out, err)
			}
		}
		if err := os.WriteFile(exe, second, 0o755); err != nil { // with O_TRUNC
			t.Fatal(err)
		}
		// Nothing that was probed runs: it is as it is without uspan.
		want, wantErr := exec.Command(copyOf(t, second)).CombinedOutput()
		out, err := exec.Command(exe).CombinedOutput()
		if string(out) != string(want) || !sameExit(err, wantErr) {
			t.Errorf("the new version: %q, %v, not %q, %v", out, err, want, wantErr)
		}
		var newFile *instrument.NewFileError
		if err := <-ended; !errors.As(err, &newFile) || !newFile.Written {
			t.Errorf("Run: %v", err)
		}
		if calls := len(spans.spans); ran != (calls > 0) {
			t.Errorf("%d calls of the first version", calls)
		}
	}
}

func copyOf(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameExit(a, b error) bool {
	var exitA, exitB *exec.ExitError
	return errors.As(a, &exitA) == errors.As(b, &exitB) && (exitA == nil || exitA.String() == exitB.String())
}
