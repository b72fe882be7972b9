package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"time"
)

// Probed is the function that probes are put on: it has a frame, since it calls
// another one.
//
//go:noinline
func Probed(n int) int { return double(n) + 1 }

//go:noinline
func double(n int) int { return 2 * n }

// Child is what the child does that is probed: for each number that it reads it makes
// as many calls of Probed, on another thread than its first one, and answers with how
// many nanoseconds they took.
func Child(in io.Reader, out io.Writer) error {
	// The first thread is this goroutine's, so that others are on others.
	runtime.LockOSThread()
	for {
		var calls int
		if _, err := fmt.Fscan(in, &calls); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		took := make(chan time.Duration)
		go func() {
			begun := time.Now()
			for i := range calls {
				if Probed(i) < i {
					panic("Probed does something else")
				}
			}
			took <- time.Since(begun)
		}()
		if _, err := fmt.Fprintln(out, (<-took).Nanoseconds()); err != nil {
			return err
		}
	}
}

// child is one that runs.
type child struct {
	cmd     *exec.Cmd
	request io.WriteCloser
	answers *bufio.Reader
}

// startChild starts a command that calls Child with its standard streams.
func startChild(cmd *exec.Cmd) (*child, error) {
	request, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a child: %w", err)
	}
	return &child{cmd: cmd, request: request, answers: bufio.NewReader(answers)}, nil
}

// call makes the child call Probed: how long all calls took.
func (c *child) call(calls int) (took time.Duration, err error) {
	if _, err = fmt.Fprintln(c.request, calls); err == nil {
		_, err = fmt.Fscanln(c.answers, (*int64)(&took))
	}
	if err != nil {
		return 0, fmt.Errorf("calls of a child: %w", err)
	}
	return took, nil
}

func (c *child) close() error { return errors.Join(c.request.Close(), c.cmd.Wait()) }
