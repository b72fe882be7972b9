package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument"
)

func newAttach() *cobra.Command {
	f := &flags{}
	command := &cobra.Command{
		Use:   "attach [flags] PID|EXECUTABLE...",
		Short: "Trace running processes, or all processes of an executable",
		Example: `  sudo uspan attach 4242                                # its own packages, a live call tree
  sudo uspan attach -f 'main.handle*' /usr/bin/app      # every process of it, now and later
  sudo uspan attach --for 10s -o json=spans.json 4242`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name a process id or an executable")}
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			if err := f.readConfig(command.Flags()); err != nil {
				return err
			}
			return runAttach(f, args)
		},
	}
	f.add(command.Flags())
	return command
}

func runAttach(f *flags, targets []string) error {
	config, err := f.settings()
	if err != nil {
		return err
	}
	config.Targets = targets
	if f.dryRun {
		return instrument.Plan(os.Stdout, config)
	}
	ctx, stop := untilSignal()
	defer stop()
	ctx, unread := context.WithCancel(ctx)
	defer unread()
	surviveClosedPipes()
	outputs, err := openOutputs(f, os.Stdout, unread)
	if err != nil {
		return err
	}
	config.Outputs, config.Live = outputs.sinks(), outputs.live
	summary, err := traceVersions(ctx, f, config, outputs)
	// From here on a signal ends uspan at once.
	stop()
	err = errors.Join(err, outputs.flush(context.Background(), f.flushTimeout))
	if summary == nil { // it has not begun
		return err
	}
	outputs.conclude(f, summary)
	if err == nil && outputs.failed() {
		return statusError(exitFailed)
	}
	return err
}

// writePause is how often it is looked whether an executable has been written.
const writePause = 500 * time.Millisecond

// traceVersions traces, and plans anew where nothing is left but a new version of a
// program. The summary is of all that; nil where nothing was traced.
func traceVersions(ctx context.Context, f *flags, config instrument.Config, outputs *outputs) (*instrument.Summary, error) {
	until := time.Now().Add(config.For)
	var written time.Time // until then what is there may not be whole yet
	for {
		summary, err := traceOnce(ctx, f, config, outputs)
		if summary == nil && ctx.Err() == nil && time.Now().Before(written) {
			time.Sleep(writePause)
			continue
		}
		if summary == nil { // what is there cannot be traced
			return config.Before, err
		}
		newFile, is := errors.AsType[*instrument.NewFileError](err)
		if is && ctx.Err() != nil {
			err = nil // it was to end anyway
		}
		if !is || err == nil {
			return summary, err
		}
		f.say(newFile.What() + ": planning anew")
		if newFile.Written {
			written = time.Now().Add(time.Minute)
		}
		config.Before = summary
		if config.For > 0 {
			if config.For = time.Until(until); config.For <= 0 {
				return summary, nil
			}
		}
	}
}

func traceOnce(ctx context.Context, f *flags, config instrument.Config, outputs *outputs) (*instrument.Summary, error) {
	heap := boundHeap()
	trace, err := instrument.Start(config)
	if err != nil {
		return nil, err
	}
	defer trace.Close()
	heap.settle(trace.MapMemory())
	defer answerStatus(trace, outputs, f).Close()
	outputs.metering.follow(trace, outputs)
	summary, err := trace.Run(ctx)
	if failure := trace.Close(); failure != nil {
		return summary, failure
	}
	return summary, err
}

// untilSignal is done at the first signal that ends uspan where it has started
// nothing; behind stop, one ends it at once.
func untilSignal() (ctx context.Context, stop context.CancelFunc) {
	// What uspan was started to ignore (nohup, a shell's job in the background)
	// does not end it.
	ends := slices.DeleteFunc([]os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}, signal.Ignored)
	return signal.NotifyContext(context.Background(), ends...)
}
