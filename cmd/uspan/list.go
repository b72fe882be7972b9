package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/instrument"
)

func newList() *cobra.Command {
	f := &flags{}
	asJSON := false
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
		RunE: func(command *cobra.Command, args []string) error {
			if err := f.readConfig(command.Flags()); err != nil {
				return err
			}
			if len(args) > 1 {
				f.functions = args[1:]
			}
			rules, err := f.rules()
			if err != nil {
				return err
			}
			rules.Look, rules.Values = true, true
			return instrument.List(os.Stdout, instrument.Config{Targets: args[:1], Rules: rules}, asJSON)
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.BoolVar(&asJSON, "json", false, "write JSON, an object a line for each function")
	addCapture(set, &f.capture, "check `EXPRESSIONS`, 'PATTERN: NAME=EXPR, …', and show what they capture; repeatable")
	f.addReading(set)
	return command
}
