package main

import (
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/instrument/doctor"
)

func newDoctor() *cobra.Command {
	asJSON, asChild := false, false
	command := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Tell whether functions can be traced here, what is missing, and what a probe costs",
		Example: `  sudo uspan doctor           # with the permissions that tracing would have
  uspan doctor                # what an ordinary user lacks
  sudo uspan doctor --json | jq .cost`,
		Long: `Looks at the kernel and at uspan's permissions, by trying where that can be: it puts
probes on a child of its own, and measures what they cost. Each finding says what
it means for tracing, and the way out. Ends with 0 where tracing will work, else
with 1.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{errors.New("doctor takes no arguments")}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if asChild {
				return doctor.Child(os.Stdin, os.Stdout)
			}
			waits := newProgress()
			waits.Step("trying probes")
			report := doctor.Examine(func() *exec.Cmd {
				child := exec.Command("/proc/self/exe", "doctor", "--child")
				child.Args[0] = os.Args[0]
				return child
			})
			waits.Step("")
			var err error
			if asJSON {
				err = report.WriteJSON(os.Stdout)
			} else {
				_, err = report.WriteTo(os.Stdout)
			}
			if err == nil && !report.Works {
				return statusError(exitFailed)
			}
			return err
		},
	}
	set := command.Flags()
	set.SortFlags = false
	set.BoolVar(&asJSON, "json", false, "write JSON, one object")
	set.BoolVar(&asChild, "child", false, "be what probes are put on")
	if err := set.MarkHidden("child"); err != nil {
		panic(err) // there is that flag
	}
	return command
}
