package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/target"
)

func newRun() *cobra.Command {
	f := &flags{}
	command := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Start a program and trace it from its first call on",
		Example: `  sudo uspan run -- ./app                               # its own packages, a live call tree
  sudo uspan run -f 'main.*' -f '!main.debug*' -- ./app -port 8080
  sudo uspan run -o otlp=http://localhost:4317 -o tree --user nobody -- ./app
  uspan run --dry-run -- ./app                          # what would be traced; needs no root`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name the command to run")}
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			if err := f.readConfig(command.Flags()); err != nil {
				return err
			}
			return runRun(f, f.command(args))
		},
	}
	f.add(command.Flags())
	f.addUser(command.Flags())
	command.Flags().SetInterspersed(false)
	return command
}

func runRun(f *flags, command target.Command) error {
	config, err := f.settings()
	if err != nil {
		return err
	}
	config.Command = &command
	if f.dryRun {
		return instrument.Plan(os.Stdout, config)
	}
	outputs, err := openOutputs(f, os.Stderr, func() {})
	if err != nil {
		return err
	}
	if outputs.usesStdout {
		command.Stdout = os.Stderr
	}
	config.Outputs, config.Live = outputs.sinks(), outputs.live
	heap := boundHeap()
	trace, err := instrument.Start(config)
	if err != nil {
		return errors.Join(err, outputs.flush(context.Background(), f.flushTimeout))
	}
	defer trace.Close()
	heap.settle(trace.MapMemory())
	defer answerStatus(trace, outputs, f).Close()
	outputs.metering.follow(trace, outputs)
	return followCommand(trace, f.say, func(ctx context.Context, summary *instrument.Summary) error {
		err := outputs.flush(ctx, f.flushTimeout)
		outputs.conclude(f, summary)
		return err
	})
}

// followCommand traces a command to its end, until which uspan stays whatever becomes
// of the tracing, and ends as the command does. conclude is told what came of the
// tracing; its context is done when the user wants to leave.
func followCommand(trace *instrument.Trace, say func(string), conclude func(context.Context, *instrument.Summary) error) error {
	surviveClosedPipes()
	relay := target.NewRelay(trace.Command(), fromTerminal(trace), func(err error) { say(err.Error()) })
	defer relay.Close()
	// Leave is closed at the second SIGINT or SIGTERM.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-relay.Leave():
			cancel()
		case <-ctx.Done():
		}
	}()

	summary, err := trace.Run(ctx)
	err = errors.Join(err, conclude(ctx, summary))
	if err != nil {
		report(err.Error())
	}
	// Whatever became of the tracing, the command goes on, and uspan with it.
	select {
	case <-trace.Command().Done():
	case <-ctx.Done():
		if trace.Command().Alive() {
			return statusError(128 + int(unix.SIGINT))
		}
	}
	status, waitErr := trace.Command().Wait()
	switch {
	case waitErr != nil:
		return waitErr
	case err != nil:
		return statusError(exitUspan)
	case status.ExitCode() != 0:
		return statusError(status.ExitCode())
	}
	return nil
}

// fromTerminal tells whether the latest signal of a kind came from the terminal:
// whether there is one from the kernel that has not been accounted for.
func fromTerminal(trace *instrument.Trace) func(unix.Signal) bool {
	seen := make(map[unix.Signal]int)
	return func(signal unix.Signal) bool {
		if trace.FromKernel(signal) == seen[signal] {
			return false
		}
		seen[signal]++
		return true
	}
}
