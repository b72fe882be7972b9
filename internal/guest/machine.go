package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// machine is one that boots, runs one test, and is gone.
type machine struct {
	arch    string
	kernel  string // path of its image
	root    *os.File
	memory  int // in MiB
	steady  bool
	limit   time.Duration
	verbose bool
}

// marker begins the line of the console that has the test's exit status. QEMU's
// own status says nothing: it is 0 after a panic of the kernel, too.
const marker = "@guest: exit status "

// command is QEMU for the machine. Its first extra file is the root.
func (m *machine) command() (*exec.Cmd, error) {
	var name, console string
	var args []string
	switch m.arch {
	case "amd64":
		// With a thread for each processor, kernels die now and then: their own code
		// changes under the emulation (int3 in text_poke).
		name, console, args = "qemu-system-x86_64", "ttyS0", []string{"-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max"}
		if virtualizes() && !m.steady {
			args = []string{"-machine", "q35", "-accel", "kvm", "-cpu", "host"}
		}
	case "arm64":
		name, console, args = "qemu-system-aarch64", "ttyAMA0", []string{"-machine", "virt", "-accel", "tcg", "-cpu", "neoverse-n1"}
	default:
		return nil, fmt.Errorf("no machine for %s", m.arch)
	}
	if _, err := exec.LookPath(name); err != nil {
		return nil, fmt.Errorf("%w: apt-get install qemu-system-x86 qemu-system-arm", err)
	}
	if m.steady {
		// A machine that gets no processor for a moment does not see that time pass,
		// which a test could take for the program's. 2 ns an instruction; what it
		// would wait for comes at once.
		args = append(args, "-icount", "shift=1,sleep=off")
	}
	level := 4 // errors
	if m.verbose {
		level = 7
	}
	// A kernel that panics ends the machine. Stalls under emulation are none, nor is
	// a timer broken that ticks too late on a busy host (Linux for amd64 looks once).
	parameters := fmt.Sprintf("console=%s loglevel=%d panic=-1 oops=panic nosoftlockup rcupdate.rcu_cpu_stall_suppress=1 no_timer_check rdinit=/init",
		console, level)
	args = append(args, "-smp", "2", "-m", strconv.Itoa(m.memory), "-no-reboot", "-nodefaults", "-display", "none",
		"-serial", "stdio", "-kernel", m.kernel, "-initrd", "/proc/self/fd/3", "-append", parameters)
	cmd := exec.Command(name, args...)
	cmd.ExtraFiles = []*os.File{m.root}
	return cmd, nil
}

// virtualizes says whether the processor runs machines by itself. /dev/kvm alone
// says too little: a KVM without such a processor boots no kernel of Debian's.
func virtualizes() bool {
	info, _ := os.ReadFile("/proc/cpuinfo")
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	kvm.Close()
	flags := strings.Fields(string(info))
	for _, flag := range flags {
		if flag == "vmx" || flag == "svm" {
			return true
		}
	}
	return false
}

// run boots the machine, copies what the test prints, and returns its status.
func (m *machine) run(w io.Writer) (int, error) {
	cmd, err := m.command()
	if err != nil {
		return 0, err
	}
	console, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	// However QEMU ends, it is the marker that counts.
	late := time.AfterFunc(m.limit, func() { _ = cmd.Process.Kill() })
	status, err := copyConsole(w, console)
	overdue := !late.Stop()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	switch {
	case err != nil && overdue:
		return 0, fmt.Errorf("the machine was still running after %v", m.limit)
	case err != nil:
		return 0, fmt.Errorf("%w\n%s", err, complaints.Bytes())
	}
	return status, nil
}

// copyConsole copies the console up to the marker.
func copyConsole(w io.Writer, console io.Reader) (int, error) {
	lines := bufio.NewReader(console)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		// The last line of the test may have no end.
		before, status, found := strings.Cut(line, marker)
		if before != "" || !found {
			fmt.Fprintln(w, before)
		}
		if found && err == nil {
			return strconv.Atoi(status)
		}
		if err != nil {
			return 0, errors.New("the machine ended before the test did")
		}
	}
}

// limit is how long the machine may run: as long as the test, and some more.
func limit(arguments []string) time.Duration {
	for _, argument := range arguments {
		if value, found := strings.CutPrefix(argument, "-test.timeout="); found {
			if d, err := time.ParseDuration(value); err == nil && d > 0 {
				return d + 2*time.Minute
			}
		}
	}
	return 12 * time.Minute
}
