// Command picture draws what a command writes to a terminal, with its colours,
// as an SVG on standard output: the picture of the README.
//
//	picture PROMPT COMMAND [ARGUMENT...]
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The size of the terminal in characters, and of what fits into a picture.
const (
	columns    = 112
	rows       = 24
	leastRows  = 18
	mostTrials = 200
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: picture PROMPT COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// run draws the first output that is worth a picture: the command's arguments
// are random, and with them its calls.
func run(prompt string, command []string) error {
	for range mostTrials {
		output, err := record(command)
		if err != nil {
			return err
		}
		lines := parse(output)
		if len(lines) < leastRows || len(lines) > rows-1 || !strings.Contains(output, "✗") {
			continue
		}
		lines = append([]line{{{text: "$ ", style: style{faint: true}}, {text: prompt, style: style{bold: true}}}}, lines...)
		_, err = os.Stdout.WriteString(draw(lines, columns))
		return err
	}
	return fmt.Errorf("%d times no output of %d to %d lines with an error in it", mostTrials, leastRows, rows-1)
}

// record runs a command in a terminal of its own and returns what it wrote there.
func record(command []string) (string, error) {
	master, slave, err := openTerminal()
	if err != nil {
		return "", fmt.Errorf("open a terminal: %w", err)
	}
	defer master.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(os.Environ(), "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return "", err
	}
	var output bytes.Buffer
	// The last slave's close is EIO for the master (pts(4)).
	if _, err := output.ReadFrom(master); err != nil && !errors.Is(err, unix.EIO) {
		return "", errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", command[0], err, output.String())
	}
	return output.String(), nil
}

// openTerminal opens a pseudo terminal (pts(4)).
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	err = errors.Join(
		unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}
