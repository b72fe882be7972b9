package target

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// procPath is the path of a file of /proc/PID.
func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// A stat is what is needed of /proc/PID/stat (proc_pid_stat(5)), which everybody
// may read.
type stat struct {
	name    string
	state   byte
	parent  int
	flags   uint64
	started uint64
}

// pfKthread is PF_KTHREAD of include/linux/sched.h.
const pfKthread = 0x00200000

func (s stat) kernel() bool { return s.flags&pfKthread != 0 }
func (s stat) zombie() bool { return s.state == 'Z' || s.state == 'X' }

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// parseStat reads the fields that are used. The name, in parentheses, may hold
// any byte, blanks and parentheses among them, so that the last one ends it.
func parseStat(text []byte) (stat, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("parse /proc/PID/stat: no name")
	}
	fields := strings.Fields(string(text[end+1:]))
	// Field 3 of the manual page is fields[0].
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("parse /proc/PID/stat: %d fields", len(fields)+2)
	}
	s := stat{name: string(text[open+1 : end]), state: fields[0][0]}
	var errs [3]error
	s.parent, errs[0] = strconv.Atoi(fields[1])
	s.flags, errs[1] = strconv.ParseUint(fields[6], 10, 64)
	s.started, errs[2] = strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return stat{}, fmt.Errorf("parse /proc/PID/stat: %w", err)
	}
	return s, nil
}

// A status is what is needed of /proc/PID/status (proc_pid_status(5)).
type status struct {
	name string
	tgid int
	// inner is the process id in the innermost PID namespace, the process's
	// own: the last number of NSpid.
	inner int
}

func readStatus(pid int) (status, error) {
	text, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return status{}, err
	}
	return parseStatus(string(text))
}

func parseStatus(text string) (status, error) {
	var s status
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "Name":
			s.name = value
		case "Tgid":
			s.tgid, err = strconv.Atoi(value)
		case "NSpid":
			ids := strings.Fields(value)
			if len(ids) > 0 {
				s.inner, err = strconv.Atoi(ids[len(ids)-1])
			}
		}
		if err != nil {
			return status{}, fmt.Errorf("parse /proc/PID/status: %w", err)
		}
	}
	if s.tgid == 0 {
		return status{}, errors.New("parse /proc/PID/status: no Tgid")
	}
	return s, nil
}
