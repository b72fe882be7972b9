package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
)

// work is what most variants trace in the target.
const work = "main.work"

// buildTarget builds the target into dir with the go command.
func buildTarget(dir string) (string, error) {
	path := filepath.Join(dir, "target")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/uspan/uspan/internal/bench/target")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the target: %w\n%s", err, output)
	}
	return path, nil
}

// A target is a process that calls and times a function on request.
type target struct {
	path     string
	function string
	cmd      *exec.Cmd
	request  io.WriteCloser
	answers  *bufio.Reader
}

// plan is where uspan puts its probes for the function, without values.
func (t *target) plan() (*plan.Plan, error) {
	file, err := gobin.Open(t.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return plan.Build(file, plan.Rules{Patterns: []string{t.function}})
}

// startTarget runs a copy of the executable, at path, for one function. Its first round is over:
// the stack has grown, and no call is under way while something is attached.
func startTarget(executable, path, function string) (*target, error) {
	if err := copyExecutable(executable, path); err != nil {
		return nil, fmt.Errorf("copy the target: %w", err)
	}
	t := &target{path: path, function: function, cmd: exec.Command(path, function)}
	request, err := t.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.cmd.Stderr = os.Stderr
	t.request, t.answers = request, bufio.NewReader(answers)
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the target: %w", err)
	}
	if _, _, err := t.round(time.Nanosecond); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func copyExecutable(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func (t *target) pid() int { return t.cmd.Process.Pid }

// round makes the target call its function for at least a time. It returns the
// number of calls and how long they took by the target's clock.
func (t *target) round(atLeast time.Duration) (calls uint64, took time.Duration, err error) {
	if _, err = fmt.Fprintln(t.request, atLeast.Nanoseconds()); err == nil {
		_, err = fmt.Fscanln(t.answers, &calls, (*int64)(&took))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("a round of the target: %w", err)
	}
	return calls, took, nil
}

// close ends the target and waits for its end.
func (t *target) close() error {
	return errors.Join(t.request.Close(), t.cmd.Wait())
}
