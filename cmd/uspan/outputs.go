package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uspan/uspan/exporter"
	"github.com/uspan/uspan/exporter/term"
	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/span"
)

// output is what the command needs of each exporter.
type output interface {
	Export(spans []*span.Span)
	Shutdown(ctx context.Context) error
	Stats() exporter.Stats
}

// outputs are all the outputs of a command.
type outputs struct {
	names  []string
	all    []output
	files  []*os.File
	live   bool
	stdout stream
	// usesStdout says that one of them writes to standard output.
	usesStdout bool
	metering   *metering
}

// openOutputs opens what the -o flags name. tree goes to the stream treeTo.
// unread is called when nobody reads standard output any more.
func openOutputs(f *flags, treeTo *os.File, unread func()) (*outputs, error) {
	names := f.outputs
	if len(names) == 0 {
		names = []string{defaultOutput()}
	}
	metering, err := openMetering(f)
	if err != nil {
		return nil, usageError{err}
	}
	o := &outputs{stdout: stream{os.Stdout, unread}, metering: metering}
	for i, name := range names {
		said := "-o"
		if len(f.written.outputs) > 0 {
			said = f.written.outputs[i].Place() + ": output"
		}
		if err := o.open(f, name, said, treeTo); err != nil {
			for _, opened := range o.all {
				err = errors.Join(err, opened.Shutdown(context.Background()))
			}
			return nil, err
		}
	}
	return o, nil
}

func defaultOutput() string {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return "otlp"
		}
	}
	return "tree"
}

// open opens one output; said is what errors call where it was asked for.
func (o *outputs) open(f *flags, name, said string, treeTo *os.File) error {
	kind, where, named := strings.Cut(name, "=")
	if named && where == "" {
		return usageError{fmt.Errorf("%s %q: nothing behind the equals sign", said, name)}
	}
	switch kind {
	case "otlp":
		otlp, err := exporter.OpenOTLP(exporter.OTLPConfig{Endpoint: where, Version: version(), Limits: f.limits(), Warn: f.say})
		if err != nil {
			return usageError{fmt.Errorf("%s %s: %w", said, name, err)}
		}
		o.add(name, otlp)
	case "json":
		var to io.Writer
		if named {
			file, err := os.Create(where)
			if err != nil {
				var path *fs.PathError
				if errors.As(err, &path) {
					err = path.Err // the name is there already
				}
				return fmt.Errorf("%s %s: %w", said, name, err)
			}
			o.files = append(o.files, file)
			to = file
		} else {
			to, o.usesStdout = o.stdout, true
		}
		o.add(name, exporter.OpenJSON(to, exporter.JSONConfig{Version: version(), Limits: f.limits(), Warn: f.say}))
	case "tree":
		if named {
			return usageError{fmt.Errorf("%s %s: tree has no place to go but the terminal", said, name)}
		}
		o.live = true
		config := term.Detect(treeTo)
		config.Warn = f.say
		to := io.Writer(treeTo)
		if treeTo == os.Stdout {
			to, o.usesStdout = o.stdout, true
		}
		o.add(name, term.OpenTree(to, config))
	default:
		return usageError{fmt.Errorf("%s %q: the outputs are otlp[=URL], tree and json[=FILE]", said, name)}
	}
	return nil
}

func (o *outputs) add(name string, opened output) {
	o.names = append(o.names, name)
	o.all = append(o.all, opened)
}

// sinks are the outputs as instrument takes them.
func (o *outputs) sinks() []instrument.Output {
	sinks := make([]instrument.Output, len(o.all))
	for i, opened := range o.all {
		sinks[i] = opened
	}
	return sinks
}

// flush ends all outputs, within the time, at once.
func (o *outputs) flush(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var flushing sync.WaitGroup
	for _, opened := range o.all {
		// An error is that spans could not be sent, which Stats have, with the
		// reason: the closing line tells it.
		flushing.Go(func() { _ = opened.Shutdown(ctx) })
	}
	flushing.Wait()
	var errs []error
	for _, file := range o.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// failed says that an output could not do with spans what it was asked for,
// rather than that there were too many of them.
func (o *outputs) failed() bool {
	return slices.ContainsFunc(o.all, func(opened output) bool {
		return slices.ContainsFunc(opened.Stats().Lost, func(loss exporter.Loss) bool {
			switch loss.Cause {
			case exporter.Unsent, exporter.Rejected, exporter.WriteFailed:
				return true
			}
			return false
		})
	})
}

// lost is how many spans the outputs have lost.
func (o *outputs) lost() (n uint64) {
	for _, opened := range o.all {
		n += opened.Stats().LostSpans()
	}
	return n
}

// away are the outputs that cannot be reached at the moment, with the reasons.
func (o *outputs) away() (all []string) {
	for i, opened := range o.all {
		if why := opened.Stats().Away; why != "" {
			all = append(all, fmt.Sprintf("%s is away: %s", o.names[i], why))
		}
	}
	return all
}

// conclude says in the last line what became of everything. That something was
// lost is said with -q, too.
func (o *outputs) conclude(f *flags, summary *instrument.Summary) {
	for _, name := range slices.Sorted(maps.Keys(summary.Calls)) {
		if sum := summary.Calls[name]; sum.Lost > 0 {
			f.log(fmt.Sprintf("%s: %d calls, %d of them lost", name, sum.Spans+sum.Lost, sum.Lost))
		}
	}
	for _, detail := range kernelDetails(summary) {
		f.log(detail)
	}
	o.metering.end(f, reading(0, 0, summary, o))
	line, lost := o.closing(summary)
	if lost > 0 {
		report(line)
	} else {
		f.say(line)
	}
}

func (o *outputs) closing(summary *instrument.Summary) (line string, lost uint64) {
	lost = summary.LostSpans()
	causes := kernelCauses(summary)
	for i, opened := range o.all {
		for _, loss := range opened.Stats().Lost {
			lost += loss.Spans
			why := fmt.Sprintf("%s: %s", o.names[i], loss.Cause)
			if loss.Reason != "" {
				why += ": " + loss.Reason
			}
			if loss.Spans > 0 {
				causes = append(causes, cause{calls: loss.Spans, why: why})
			}
		}
	}
	line = fmt.Sprintf("%d spans, %d lost", summary.Spans, lost)
	return line + inBrackets(causes) + fmt.Sprintf(", %d still open", summary.Open), lost
}
