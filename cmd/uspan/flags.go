package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/uspan/uspan/cmd/uspan/config"
	"github.com/uspan/uspan/exporter"
	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
)

// flags are those of every command that traces.
type flags struct {
	configFile   string
	functions    []string
	roots        []string
	traceSpans   int
	outputs      []string
	capture      []string
	depth        int
	debugFile    string
	stack        bool
	duration     time.Duration
	resource     []string
	dryRun       bool
	force        bool
	follow       bool
	openCalls    int
	flushTimeout time.Duration
	verbose      bool
	quiet        bool
	user         string // to start a command as

	file     *config.File // nil without configFile
	written  written
	progress *progress // nil where nobody sees it
}

// written is what of the flags was taken from the configuration file, with its
// places.
type written struct {
	functions, roots, outputs []config.Text
	debugFile, user           *config.Text
}

func (f *flags) add(set *pflag.FlagSet) {
	f.addFunctions(set)
	set.StringArrayVarP(&f.outputs, "output", "o", nil,
		"where spans go, `KIND[=WHERE]`: otlp[=URL] (over HTTP to a path or port 4318, else gRPC), tree, json[=FILE]; repeatable "+
			"(default: otlp where OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, else tree)")
	f.addRoots(set, "calls of traced functions that match `PATTERN` begin traces, linked to their callers; repeatable")
	set.IntVar(&f.traceSpans, "max-trace-spans", 10_000, "a trace with about `N` spans is followed by new, linked ones; 0: no bound")
	addCapture(set, &f.capture, "capture arguments and results, `auto|none|EXPRESSIONS`: auto (default) or none, and repeatable "+
		"'PATTERN: NAME=EXPR, …' for what is captured of functions instead, such as 'main.checkout: user=req.User.ID, n=len(items)'")
	f.addReading(set)
	set.BoolVar(&f.stack, "stack", false, "tell the stack of each call at its entry (code.stacktrace)")
	set.StringArrayVar(&f.resource, "resource", nil, "resource attribute `KEY=VALUE` that wins over all others; repeatable")
	set.DurationVar(&f.flushTimeout, "flush-timeout", 5*time.Second, "how long the last flush may take")
	f.addBounds(set)
}

// addFunctions adds -f, which comes first.
func (f *flags) addFunctions(set *pflag.FlagSet) {
	set.SortFlags = false
	set.StringArrayVarP(&f.functions, "func", "f", nil,
		"trace functions whose name matches `PATTERN`: a glob, /re/, or !PATTERN to take away; repeatable "+
			"(default: the main module's own packages)")
}

// addBounds adds what every command has that attaches, whatever it makes of calls.
func (f *flags) addBounds(set *pflag.FlagSet) {
	set.BoolVar(&f.follow, "follow", false, "trace child processes, and what the process executes in its place, where they run the same executable")
	set.DurationVar(&f.duration, "for", 0, "detach and flush after this `DURATION`")
	set.BoolVar(&f.dryRun, "dry-run", false, "print the plan and end; needs no root")
	set.BoolVar(&f.force, "force", false, "attach although the probes take over a tenth of the memory that the target's cgroup has left")
	set.IntVar(&f.openCalls, "max-open-calls", 0, fmt.Sprintf("how many calls can be open at any moment, `N`: what uspan takes of kernel memory "+
		"(default: %d, or fewer where uspan's cgroup has less memory)", instrument.DefaultOpenCalls))
	set.BoolVarP(&f.verbose, "verbose", "v", false, "say more")
	set.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but errors")
}

// addRoots adds --root.
func (f *flags) addRoots(set *pflag.FlagSet, usage string) {
	set.StringArrayVar(&f.roots, "root", nil, usage)
}

// addCapture adds --capture, which list has for expressions alone.
func addCapture(set *pflag.FlagSet, capture *[]string, usage string) {
	set.StringArrayVar(capture, "capture", nil, usage)
}

// addReading adds the flags of every command that reads types.
func (f *flags) addReading(set *pflag.FlagSet) {
	set.IntVar(&f.depth, "capture-depth", 1, "show `N` levels of structs within each other, 1 to 4")
	f.addFiles(set)
}

// addFiles adds the files that commands read beside executables.
func (f *flags) addFiles(set *pflag.FlagSet) {
	set.StringVar(&f.debugFile, "debug-file", "", "read types from this `FILE`, which the executable was stripped into "+
		"(default: found by build ID or .gnu_debuglink)")
	set.StringVar(&f.configFile, "config", "", "read settings from this YAML `FILE`, whose keys are the long names of the flags of 'uspan run' but this one and --dry-run; flags win")
}

// addUser adds the flag of run alone.
func (f *flags) addUser(set *pflag.FlagSet) {
	set.StringVar(&f.user, "user", "", "start the command as `NAME`")
}

// readConfig takes from the configuration file what no flag says.
func (f *flags) readConfig(set *pflag.FlagSet) error {
	if f.configFile == "" {
		return nil
	}
	c, err := config.Read(f.configFile)
	if _, wrong := errors.AsType[*config.Error](err); wrong {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	f.file = c
	texts := func(flag string, into *[]string, from []config.Text, written *[]config.Text) {
		if !set.Changed(flag) && from != nil {
			*into, *written = config.Values(from), from
		}
	}
	texts("func", &f.functions, c.Func, &f.written.functions)
	texts("output", &f.outputs, c.Output, &f.written.outputs)
	texts("root", &f.roots, c.Root, &f.written.roots)
	text := func(flag string, into *string, from *config.Text, written **config.Text) {
		if !set.Changed(flag) && from != nil {
			*into, *written = from.Value, from
		}
	}
	text("debug-file", &f.debugFile, c.DebugFile, &f.written.debugFile)
	text("user", &f.user, c.User, &f.written.user)
	if c.Capture != nil && !slices.Contains(f.capture, "auto") && !slices.Contains(f.capture, "none") {
		f.capture = append(f.capture, c.Capture.Value)
	}
	take(set, "max-trace-spans", &f.traceSpans, c.MaxTraceSpans)
	take(set, "capture-depth", &f.depth, c.CaptureDepth)
	take(set, "max-open-calls", &f.openCalls, c.MaxOpenCalls)
	take(set, "follow", &f.follow, c.Follow)
	take(set, "for", &f.duration, c.For)
	take(set, "flush-timeout", &f.flushTimeout, c.FlushTimeout)
	take(set, "stack", &f.stack, c.Stack)
	take(set, "force", &f.force, c.Force)
	if !set.Changed("verbose") && !set.Changed("quiet") { // which contradict each other
		take(set, "verbose", &f.verbose, c.Verbose)
		take(set, "quiet", &f.quiet, c.Quiet)
	}
	for _, a := range c.Resource {
		if !slices.ContainsFunc(f.resource, func(pair string) bool { return strings.HasPrefix(pair, a.Key+"=") }) {
			f.resource = append(f.resource, a.Key+"="+a.Value.Value)
		}
	}
	return nil
}

// take takes a setting from the file unless the flag of that name is there.
func take[T any](set *pflag.FlagSet, flag string, into *T, from *config.Setting[T]) {
	if !set.Changed(flag) && from != nil {
		*into = from.Value
	}
}

// settings are what the flags ask instrument for, without targets and outputs.
func (f *flags) settings() (instrument.Config, error) {
	settings, err := f.bounds()
	if err != nil {
		return settings, err
	}
	if settings.Rules, err = f.rules(); err != nil {
		return settings, err
	}
	settings.TraceSpans, settings.Stacks, settings.EventBytes = f.traceSpans, f.stack, f.eventBytes()
	switch {
	case f.flushTimeout <= 0:
		return settings, usageError{fmt.Errorf("--flush-timeout %v: a duration above zero is needed", f.flushTimeout)}
	case f.traceSpans < 0:
		return settings, usageError{fmt.Errorf("--max-trace-spans %d: a number cannot be negative", f.traceSpans)}
	}
	for _, pair := range f.resource {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return settings, usageError{fmt.Errorf("--resource %q: KEY=VALUE is needed", pair)}
		}
		settings.Resource = append(settings.Resource, span.Attribute{Key: key, Value: value})
	}
	return settings, nil
}

// bounds is the part of settings that addBounds has the flags of.
func (f *flags) bounds() (instrument.Config, error) {
	settings := instrument.Config{
		Version:   version(),
		For:       f.duration,
		Force:     f.force,
		Follow:    f.follow,
		OpenCalls: f.openCalls,
		Say:       f.say,
		Log:       f.log,
	}
	switch {
	case f.duration < 0:
		return settings, usageError{fmt.Errorf("--for %v: a duration cannot be negative", f.duration)}
	case f.openCalls != 0 && (f.openCalls < instrument.MinOpenCalls || f.openCalls > instrument.MostOpenCalls):
		return settings, usageError{fmt.Errorf("--max-open-calls %d: a number from %d to %d is needed", f.openCalls, instrument.MinOpenCalls, instrument.MostOpenCalls)}
	case f.verbose && f.quiet:
		return settings, usageError{fmt.Errorf("-v and -q contradict each other")}
	}
	if !f.quiet {
		f.progress = newProgress()
	}
	settings.Progress = f.progress.Step
	return settings, nil
}

// eventBytes and limits are of the configuration file alone.
func (f *flags) eventBytes() int {
	if f.file == nil || f.file.Limits.EventBytes == nil {
		return 0
	}
	return f.file.Limits.EventBytes.Value
}

func (f *flags) limits() exporter.Limits {
	var limits exporter.Limits
	if f.file == nil {
		return limits
	}
	if n := f.file.Limits.Attributes; n != nil {
		limits.Attributes = &n.Value
	}
	if n := f.file.Limits.AttributeLength; n != nil {
		limits.AttributeLength = &n.Value
	}
	return limits
}

// chosen are the rules of every command that traces or counts: which functions, and
// where their types are.
func (f *flags) chosen() plan.Rules {
	rules := plan.Rules{Patterns: f.functions, DebugFile: f.debugFile}
	rules.Written.Patterns = config.Written(f.written.functions)
	if at := f.written.debugFile; at != nil {
		rules.Written.DebugFile = at.Text
	}
	return rules
}

// command is what is to be started.
func (f *flags) command(args []string) target.Command {
	c := target.Command{Path: args[0], Args: args[1:], User: f.user}
	if at := f.written.user; at != nil {
		c.UserFrom = at.Place()
	}
	return c
}

func (f *flags) rules() (plan.Rules, error) {
	rules := f.chosen()
	rules.Roots, rules.Depth = f.roots, f.depth
	rules.Written.Roots = config.Written(f.written.roots)
	if err := captures(f.capture, &rules); err != nil {
		return rules, err
	}
	if f.depth < 1 || f.depth > plan.MaxDepth {
		return rules, usageError{fmt.Errorf("--capture-depth %d: 1 to %d is needed", f.depth, plan.MaxDepth)}
	}
	if f.file != nil {
		f.file.Rules(&rules)
	}
	if err := rules.Check(); err != nil {
		return rules, usageError{err}
	}
	return rules, nil
}

// captures are what the flags --capture say.
func captures(flags []string, rules *plan.Rules) error {
	all := ""
	for _, text := range flags {
		switch text {
		case "auto", "none":
			if all != "" && all != text {
				return usageError{errors.New("--capture auto and --capture none contradict each other")}
			}
			all = text
			continue
		}
		if !strings.Contains(text, ":") {
			return usageError{fmt.Errorf("--capture %q: auto or none is needed, or 'PATTERN: NAME=EXPR, …'", text)}
		}
		e, err := plan.ParseExpressions(text)
		if err != nil {
			return usageError{fmt.Errorf("--capture: %w", err)}
		}
		rules.Expressions = append(rules.Expressions, e)
	}
	rules.Values = all != "none"
	return nil
}

// say is for messages that -q takes away.
func (f *flags) say(message string) {
	if !f.quiet {
		f.progress.Clear()
		report(message)
	}
}

// log is for messages that only -v shows.
func (f *flags) log(message string) {
	if f.verbose {
		f.say(message)
	}
}
