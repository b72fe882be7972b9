// Command uspan turns functions of running Go programs into OpenTelemetry spans.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/uspan/uspan/instrument/attach"
	"github.com/uspan/uspan/instrument/target"
)

func main() { os.Exit(mainWithExitCode(os.Args[1:])) }

// Exit statuses. What starts a command ends with the command's own where there is one.
const (
	exitFailed        = 1
	exitUsage         = 2
	exitUspan         = 125 // with a command: uspan itself failed or was misused
	exitNotExecutable = 126
	exitNotFound      = 127
)

// usageError is a misuse of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// statusError ends uspan with a status and no message.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func mainWithExitCode(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return int(status)
	}
	message := err.Error()
	if _, machine := errors.AsType[*attach.MachineError](err); machine {
		message += "; 'uspan doctor' tells more"
	}
	report(message)
	_, usage := errors.AsType[usageError](err)
	if usage {
		report(fmt.Sprintf("see '%s --help'", command.CommandPath()))
	}
	starts := command.Name() == "run" || slices.Contains([]string{"hist", "stacks"}, command.Name()) && slices.Contains(args, "--")
	switch {
	case !starts && usage:
		return exitUsage
	case !starts:
		return exitFailed
	case errors.Is(err, target.ErrNotFound):
		return exitNotFound
	case errors.Is(err, target.ErrNotExecutable):
		return exitNotExecutable
	}
	return exitUspan
}

// report writes a message to standard error.
func report(message string) { fmt.Fprintf(os.Stderr, "uspan: %s\n", message) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "uspan",
		Short: "Turn functions of running Go programs into OpenTelemetry spans",
		Example: `  sudo uspan run -- ./app                          # its own packages, a live call tree
  sudo uspan run -o otlp=http://localhost:4317 -f 'main.*' -- ./app -port 8080
  sudo uspan attach -f 'shop/cart.(*Cart).*' 4242  # a running process
  uspan list ./app 'main.*'                        # signatures, and what cannot be captured
  sudo uspan hist -f 'main.*' -- ./app             # how long calls take: histograms, kept in the kernel
  sudo uspan stacks -f 'main.load' -- ./app        # who calls, and how often: folded stacks
  uspan run --dry-run -f 'main.*' -- ./app         # what would be traced, and why not
  sudo uspan status                                # how each uspan is that traces here
  sudo uspan doctor                                # whether tracing works here, and what a probe costs`,
		Long: `uspan turns any function of any running Go program into an OpenTelemetry span:
no code change, no rebuild, no restart.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q", args[0])}
			}
			return usageError{errors.New("which command?")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	root.SetVersionTemplate("uspan {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.AddCommand(newRun(), newAttach(), newStacks(), newList(), newHist(), newStatus(), newDoctor())
	return root
}

// helpTemplate puts the examples first, and only there.
const helpTemplate = `{{with .Example}}{{.}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasAvailableSubCommands}}
Commands:
{{range .Commands}}{{if .IsAvailableCommand}}  {{rpad .Name .NamePadding}}{{.Short}}
{{end}}{{end}}{{end}}
Flags:
{{.LocalFlags.FlagUsages}}{{if .HasAvailableSubCommands}}
'{{.CommandPath}} COMMAND --help' tells more of a command.
{{end}}`
