package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/exporter/term"
	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/hist"
)

func newHist() *cobra.Command {
	f := &flags{}
	h := &histograms{flags: f}
	command := &cobra.Command{
		Use:   "hist [flags] PID|EXECUTABLE... | -- COMMAND [ARGUMENT...]",
		Short: "Count calls by how long they take, in the kernel: histograms and quantiles",
		Example: `  sudo uspan hist -f 'main.fibonacci*' -- ./fib           # start a program; at its end
  sudo uspan hist --interval 1s -f 'shop/cart.*' 4242     # a running process, again and again
  sudo uspan hist --for 30s -f 'net/http.*ServeHTTP' /usr/bin/app
  sudo uspan hist --json --for 10s 4242 | jq '{function, calls, p99_ns}'`,
		Long: `Counts the calls of functions by their durations, in the kernel: no call is an
event, which costs less than a span. For each function: calls, errors, quantiles
within 1.6 %, the longest, and bars. Errors are calls that returned a non-nil
error as their last result (io.EOF apart) or that a panic unwound.

It goes to standard output; with a command, whose that is, to standard error.
--json moves the command's standard output there instead.`,
		Args: func(command *cobra.Command, args []string) error { return checkTargets(f, command, args) },
		RunE: func(command *cobra.Command, args []string) error { return f.count(command, args, h) },
	}
	set := command.Flags()
	f.addFunctions(set)
	set.DurationVar(&h.interval, "interval", 0, "show the histograms every `DURATION`, too; in a terminal that nothing else writes to, in place")
	set.BoolVar(&h.asJSON, "json", false, "write JSON, an object a line for each function")
	f.addUser(set)
	f.addFiles(set)
	f.addBounds(set)
	return command
}

// histograms is one run of `uspan hist`.
type histograms struct {
	*flags
	interval time.Duration
	asJSON   bool

	out     *os.File
	drawing *term.Histograms
	inPlace bool
	trace   *instrument.Trace
	begun   time.Time
	end     context.CancelFunc
	failure error // of writing
}

// settings are what the flags ask instrument for, without targets.
func (h *histograms) settings() (instrument.Config, error) {
	config, err := h.bounds()
	if err != nil {
		return config, err
	}
	config.Rules = h.chosen()
	config.Rules.Durations, config.Histograms = true, true
	if h.file != nil {
		h.file.Rules(&config.Rules)
	}
	if err := config.Rules.Check(); err != nil {
		return config, usageError{err}
	}
	if h.interval < 0 {
		return config, usageError{fmt.Errorf("--interval %v: a duration cannot be negative", h.interval)}
	}
	config.Every = h.interval
	return config, nil
}

// run counts to the end and shows what came of it.
func (h *histograms) run(config instrument.Config) error {
	h.out = os.Stdout
	switch {
	case config.Command == nil:
	case h.asJSON:
		config.Command.Stdout = os.Stderr
	default:
		h.out = os.Stderr
	}
	drawn := term.Detect(h.out)
	h.drawing = term.NewHistograms(h.out, drawn)
	// A command writes between the lines.
	h.inPlace = drawn.Height != nil && config.Command == nil
	config.Look = h.look
	return h.toEnd(config, h)
}

// begin notes when the calls are counted from, and how to end that before its time.
func (h *histograms) begin(trace *instrument.Trace, end context.CancelFunc) {
	h.trace, h.end, h.begun = trace, end, time.Now()
}

// look shows the histograms while calls are counted.
func (h *histograms) look() {
	all, err := h.trace.Histograms()
	switch {
	case err != nil, h.failure != nil:
	case h.asJSON:
		err = hist.WriteJSON(h.out, time.Now(), all)
	case h.inPlace:
		err = h.drawing.Redraw(all)
	default:
		if _, err = fmt.Fprintf(h.out, "after %v:\n", time.Since(h.begun).Round(time.Millisecond*100)); err == nil {
			err = h.drawing.Draw(all)
		}
		if err == nil {
			_, err = fmt.Fprintln(h.out)
		}
	}
	if err != nil && h.failure == nil {
		h.failure = err
		h.end()
	}
}

// conclude shows what came of all calls, and says what did not.
func (h *histograms) conclude(summary *instrument.Summary) error {
	all, err := h.trace.Histograms()
	if err == nil && h.failure == nil {
		if h.asJSON {
			h.failure = hist.WriteJSON(h.out, time.Now(), all)
		} else {
			h.failure = h.drawing.Draw(all)
		}
	}
	var calls, unbucketed, functions uint64
	for i := range all {
		calls += all[i].Calls
		unbucketed += all[i].Unbucketed
		if all[i].Seen() {
			functions++
		}
	}
	for _, detail := range kernelDetails(summary) {
		h.log(detail)
	}
	lost := summary.LostSpans()
	line := fmt.Sprintf("%d calls of %d functions, %d lost", calls, functions, lost)
	if functions == 1 {
		line = fmt.Sprintf("%d calls of 1 function, %d lost", calls, lost)
	}
	line += inBrackets(kernelCauses(summary))
	line += fmt.Sprintf(", %d still open", summary.Open)
	if unbucketed > 0 {
		line += fmt.Sprintf(", %d in no bucket for want of memory (--max-open-calls)", unbucketed)
	}
	if lost+unbucketed > 0 {
		report(line)
	} else {
		h.say(line)
	}
	if errors.Is(h.failure, unix.EPIPE) {
		h.failure = nil // whoever read it has enough
	}
	return errors.Join(err, h.failure)
}
