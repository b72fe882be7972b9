package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/instrument"
)

// A counter is a command that counts calls in the kernel, to its end.
type counter interface {
	// settings are what the flags ask instrument for, without targets.
	settings() (instrument.Config, error)
	run(config instrument.Config) error
	// begin is called when calls are counted; end ends that.
	begin(trace *instrument.Trace, end context.CancelFunc)
	// conclude writes what came of all calls, and says what was not counted.
	conclude(summary *instrument.Summary) error
}

// checkTargets checks what a command is given that takes targets, or starts one.
func checkTargets(f *flags, command *cobra.Command, args []string) error {
	switch dash := command.ArgsLenAtDash(); {
	case len(args) == 0:
		return usageError{errors.New("name a process id, an executable, or, behind --, a command")}
	case dash > 0:
		return usageError{errors.New("processes and executables, or, behind --, a command: not both")}
	case dash < 0 && f.user != "":
		return usageError{errors.New("--user is for a command, behind --")}
	}
	return nil
}

// count runs a counter over its targets, or says what it would do.
func (f *flags) count(command *cobra.Command, args []string, c counter) error {
	if err := f.readConfig(command.Flags()); err != nil {
		return err
	}
	config, err := c.settings()
	if err != nil {
		return err
	}
	if command.ArgsLenAtDash() == 0 {
		command := f.command(args)
		config.Command = &command
	} else {
		config.Targets = args
	}
	if f.dryRun {
		return instrument.Plan(os.Stdout, config)
	}
	return c.run(config)
}

// toEnd counts until the command has ended, or without one, until a signal.
func (f *flags) toEnd(config instrument.Config, c counter) error {
	ctx, stop := context.WithCancel(context.Background())
	if config.Command == nil {
		ctx, stop = untilSignal()
	}
	defer stop()
	ctx, end := context.WithCancel(ctx)
	defer end()
	surviveClosedPipes()
	heap := boundHeap()
	trace, err := instrument.Start(config)
	if err != nil {
		return err
	}
	defer trace.Close()
	heap.settle(trace.MapMemory())
	c.begin(trace, end)
	if config.Command != nil {
		return followCommand(trace, f.say, func(_ context.Context, summary *instrument.Summary) error {
			return c.conclude(summary)
		})
	}
	summary, err := trace.Run(ctx)
	stop()
	return errors.Join(err, c.conclude(summary), trace.Close())
}
