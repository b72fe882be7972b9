package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/exporter/term"
	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
)

func newList() *cobra.Command {
	f := &flags{}
	asJSON := false
	command := &cobra.Command{
		Use:   "list [flags] PID|EXECUTABLE [PATTERN...]",
		Short: "Show functions: signatures, what probes cost, which calls begin traces, and what cannot be traced or captured, and why",
		Example: `  uspan list ./app                   # the functions of its own packages
  uspan list ./app 'main.*'          # patterns as -f of run has them
  uspan list --json ./app '*' | jq -r 'select(.refused) | .name + ": " + .refused'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name an executable or a process id")}
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			if err := f.readConfig(command.Flags()); err != nil {
				return err
			}
			if len(args) > 1 {
				f.functions, f.written.functions = args[1:], nil
			}
			rules, err := f.rules()
			if err != nil {
				return notPattern(err, args[1:])
			}
			rules.Look, rules.Values = true, true
			frugal()
			waits := newProgress()
			config := instrument.Config{Targets: args[:1], Rules: rules, Progress: waits.Step}
			err = instrument.List(config, func(p *plan.Plan) error {
				if asJSON {
					return p.WriteJSON(os.Stdout)
				}
				waits.Step("reading signatures")
				table := tableOf(p)
				waits.Step("")
				return term.WriteTable(os.Stdout, term.Detect(os.Stdout), table)
			})
			return notPattern(err, args[1:])
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.BoolVar(&asJSON, "json", false, "write JSON, an object a line for each function")
	f.addRoots(set, "show calls of functions that match `PATTERN` as roots; repeatable")
	addCapture(set, &f.capture, "check `EXPRESSIONS`, 'PATTERN: NAME=EXPR, …', and show what they capture; repeatable")
	f.addReading(set)
	return command
}

// notPattern is an error about a pattern; where that is the name of a file, it says so.
func notPattern(err error, patterns []string) error {
	wrong, ok := errors.AsType[*plan.PatternError](err)
	if !ok || !slices.Contains(patterns, wrong.Pattern) {
		return err
	}
	if _, missing := os.Stat(wrong.Pattern); missing != nil {
		return err
	}
	return usageError{fmt.Errorf("%s is no pattern, but a file: name one executable, and patterns behind it", wrong.Pattern)}
}

// tableOf is a list for people: a line a function, below it what is to be known.
func tableOf(p *plan.Plan) *term.Table {
	columns := []term.Column{{Head: "ENTRY", Least: 9}, {Head: "RETURNS", Least: 12}, {Head: "DECLARED AT", Least: 12, Path: true}, {Head: "FUNCTION"}}
	rows := func(yield func(term.Row) bool) {
		for l := range p.List {
			cells := append(placed(&l), l.Signature())
			if !yield(term.Row{Cells: cells, Notes: l.Notes(), Faint: l.Refused != ""}) {
				return
			}
		}
	}
	outline := func(yield func([]string) bool) {
		for l := range p.Outline {
			if !yield(placed(&l)) {
				return
			}
		}
	}
	return &term.Table{Columns: columns, Rows: rows, Outline: outline}
}

// placed are the cells that say what the probes of a function cost, and where it is.
func placed(l *plan.Listing) []string {
	cells := []string{"-", "-", ""}
	if l.Refused == "" {
		cells[0], cells[1] = l.EntryCost, l.Returns()
	}
	if l.File != "" {
		cells[2] = l.File + ":" + strconv.Itoa(l.Line)
	}
	return cells
}
