// Command picture makes the pictures of the README, on standard output: what a
// command writes to a terminal, with its colours, as an SVG, and the flame graph of
// a profile, as pprof's own page shows it, as a PNG.
//
//	picture [-lines LEAST-MOST] [-with TEXT] PROMPT COMMAND [ARGUMENT...]
//	picture -flame PROFILE
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The size of the terminal in characters, and how often a command is run for a picture.
const (
	columns    = 114
	rows       = 24
	mostTrials = 200
)

// A wish is what output is worth a picture.
type wish struct {
	least, most int // lines
	with        string
}

func main() {
	var w wish
	lines := flag.String("lines", "1-60", "draw the first output of `LEAST-MOST` lines")
	flag.StringVar(&w.with, "with", "", "draw the first output with a `TEXT` in it")
	flame := flag.Bool("flame", false, "draw the flame graph of a profile")
	flag.Parse()
	_, err := fmt.Sscanf(*lines, "%d-%d", &w.least, &w.most)
	switch args := flag.Args(); {
	case err != nil:
		err = fmt.Errorf("-lines %s: %w", *lines, err)
	case *flame && len(args) == 1:
		err = drawFlameGraph(os.Stdout, args[0])
	case !*flame && len(args) >= 2:
		err = run(args[0], args[1:], w)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// run draws the first output that is worth a picture: the arguments of the program
// that is traced are random, and with them its calls.
func run(prompt string, command []string, w wish) error {
	for range mostTrials {
		output, err := record(command)
		if err != nil {
			return err
		}
		lines := wrap(parse(output), columns)
		if len(lines) < w.least || len(lines) > w.most || !strings.Contains(output, w.with) {
			continue
		}
		lines = append([]line{{{text: "$ ", style: style{faint: true}}, {text: prompt, style: style{bold: true}}}}, lines...)
		_, err = os.Stdout.WriteString(draw(lines, columns))
		return err
	}
	return fmt.Errorf("%d times no output of %d to %d lines with %q in it", mostTrials, w.least, w.most, w.with)
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
