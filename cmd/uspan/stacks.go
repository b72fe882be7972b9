package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/exporter/term"
	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/profile"
)

func newStacks() *cobra.Command {
	f := &flags{}
	s := &stacks{flags: f}
	command := &cobra.Command{
		Use:   "stacks [flags] PID|EXECUTABLE... | -- COMMAND [ARGUMENT...]",
		Short: "Count calls by who called, in the kernel: folded stacks, or a profile for pprof",
		Example: `  sudo uspan stacks -f 'main.fib*' -- ./fib               # start a program; at its end
  sudo uspan stacks --for 30s -f 'database/sql.*.Query*' 4242
  sudo uspan stacks --for 30s -f 'main.load' -o pprof=calls.pprof 4242
  go tool pprof -http : calls.pprof                       # a flame graph
  sudo uspan stacks --json --for 10s -f 'main.*' 4242 | jq -r '"\(.calls) \(.stack[1].function)"'`,
		Long: `Counts the calls of functions by the stack at their entry, in the kernel: no call
is an event. It writes a line for each stack, the functions from the outermost to
the one that was called between semicolons, and the number of calls, the most
frequent last, as tools for flame graphs read it.

It goes to standard output; with a command, whose that is, to standard error.
--json moves the command's standard output there instead.`,
		Args: func(command *cobra.Command, args []string) error { return checkTargets(f, command, args) },
		RunE: func(command *cobra.Command, args []string) error { return f.count(command, args, s) },
	}
	set := command.Flags()
	f.addFunctions(set)
	set.StringArrayVarP(&s.outputs, "output", "o", nil, "where the stacks go, `KIND=FILE`: pprof=FILE, folded=FILE; repeatable (default: folded, as said above)")
	set.BoolVar(&s.asJSON, "json", false, "write JSON, an object a line for each stack")
	f.addUser(set)
	f.addFiles(set)
	f.addBounds(set)
	return command
}

// stacks is one run of `uspan stacks`.
type stacks struct {
	*flags
	outputs []string
	asJSON  bool

	out   *os.File // nil where all goes to files
	files []stacksFile
	trace *instrument.Trace
	begun time.Time
}

// A stacksFile is an output of `uspan stacks`.
type stacksFile struct {
	file  *os.File
	pprof bool
}

// settings are what the flags ask instrument for, without targets.
func (s *stacks) settings() (instrument.Config, error) {
	config, err := s.bounds()
	if err != nil {
		return config, err
	}
	config.Rules = s.chosen()
	config.Tally = true
	if s.file != nil {
		s.file.Rules(&config.Rules)
	}
	if err := config.Rules.Check(); err != nil {
		return config, usageError{err}
	}
	// What is said of functions is checked as for the other commands, but no values
	// are read.
	config.Rules.Expressions = nil
	for _, name := range s.outputs {
		kind, where, _ := strings.Cut(name, "=")
		if kind != "pprof" && kind != "folded" {
			return config, usageError{fmt.Errorf("-o %q: the outputs are pprof=FILE and folded=FILE", name)}
		}
		if where == "" {
			return config, usageError{fmt.Errorf("-o %q: name the file: %s=FILE", name, kind)}
		}
	}
	return config, nil
}

// open opens the files that outputs name.
func (s *stacks) open() error {
	for _, name := range s.outputs {
		kind, where, _ := strings.Cut(name, "=")
		file, err := os.Create(where)
		if err != nil {
			return fmt.Errorf("-o %s: %w", kind, err)
		}
		s.files = append(s.files, stacksFile{file, kind == "pprof"})
	}
	return nil
}

// run counts to the end and writes what came of it.
func (s *stacks) run(config instrument.Config) error {
	if err := s.open(); err != nil {
		return err
	}
	switch {
	case s.asJSON:
		s.out = os.Stdout
		if config.Command != nil {
			config.Command.Stdout = os.Stderr
		}
	case len(s.files) > 0:
	case config.Command != nil:
		s.out = os.Stderr
	default:
		s.out = os.Stdout
	}
	return s.toEnd(config, s)
}

// begin notes when the calls are counted from.
func (s *stacks) begin(trace *instrument.Trace, _ context.CancelFunc) {
	s.trace, s.begun = trace, time.Now()
}

// conclude writes the stacks, and says what was not counted.
func (s *stacks) conclude(summary *instrument.Summary) error {
	took := time.Since(s.begun)
	counts, err := s.trace.Tally()
	if err != nil {
		return err
	}
	var failure error
	switch {
	case s.out == nil:
	case s.asJSON:
		failure = profile.WriteJSON(s.out, counts)
	default:
		failure = term.WriteFolded(s.out, term.Detect(s.out), counts)
	}
	if errors.Is(failure, unix.EPIPE) {
		failure = nil // whoever read it has enough
	}
	for _, f := range s.files {
		if f.pprof {
			err = profile.WritePprof(f.file, counts, s.begun, took)
		} else {
			err = profile.WriteFolded(f.file, counts)
		}
		failure = errors.Join(failure, err, f.file.Close())
	}
	var calls uint64
	for i := range counts {
		calls += counts[i].Calls
	}
	stacks := "stacks"
	if len(counts) == 1 {
		stacks = "stack"
	}
	line := fmt.Sprintf("%d calls, %d %s", calls, len(counts), stacks)
	var causes []string
	if lost := summary.Lost.StacksFull; lost > 0 {
		causes = append(causes, fmt.Sprintf("%d calls not counted (too many stacks, or a stack that could not be read)", lost))
	}
	if lost := summary.Lost.ProcessesFull; lost > 0 {
		causes = append(causes, fmt.Sprintf("%d calls not counted (of more than %d processes)", lost, instrument.MostProcesses))
	}
	if len(causes) > 0 {
		report(line + ", " + strings.Join(causes, ", "))
	} else {
		s.say(line + ", 0 calls not counted")
	}
	return failure
}
