package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
)

func newList() *cobra.Command {
	rules := plan.Rules{Values: true, Look: true}
	asJSON := false
	var capture []string
	command := &cobra.Command{
		Use:   "list [flags] PID|EXECUTABLE [PATTERN...]",
		Short: "Show functions, their signatures, and which values cannot be captured",
		Example: `  uspan list ./app                   # the functions of its own packages
  uspan list ./app 'main.*'          # patterns as -f of run has them
  uspan list --json ./app '*' | jq -r 'select(.refused) | .name + ": " + .refused'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name an executable or a process id")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			rules.Patterns = args[1:]
			if err := checkDepth(rules.Depth); err != nil {
				return err
			}
			if err := captures(capture, &rules); err != nil {
				return err
			}
			if err := rules.Check(); err != nil {
				return usageError{err}
			}
			return instrument.List(os.Stdout, instrument.Config{Targets: args[:1], Rules: rules}, asJSON)
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.BoolVar(&asJSON, "json", false, "write JSON, an object a line for each function")
	addCapture(set, &capture, "check `EXPRESSIONS`, 'PATTERN: NAME=EXPR, …', and show what they capture; repeatable")
	addReading(set, &rules.Depth, &rules.DebugFile)
	return command
}

func checkDepth(depth int) error {
	if depth < 1 || depth > plan.MaxDepth {
		return usageError{fmt.Errorf("--capture-depth %d: 1 to %d is needed", depth, plan.MaxDepth)}
	}
	return nil
}
