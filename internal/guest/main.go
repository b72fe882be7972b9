// Command guest runs a test on another kernel: it stands behind `go test -exec`,
// boots a machine for the architecture of the test's executable in QEMU, runs the
// test there, and passes its output and its exit status on.
//
//	go build -o bin/guest ./internal/guest
//	go test -exec "$PWD/bin/guest -kernel 6.1" ./instrument/attach
//	GOARCH=arm64 CGO_ENABLED=0 go test -exec "$PWD/bin/guest -kernel 6.1" ./instrument/attach
//
// It needs QEMU and Debian's apt, from where the kernels come (see kernel.go).
// In the machine there is no compiler: what the test runs is built before, on
// this side (see needs.go).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	if os.Getpid() == 1 {
		initMain()
	}
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(125)
	}
	os.Exit(status)
}

func run() (int, error) {
	flags := flag.NewFlagSet("guest", flag.ContinueOnError)
	name := flags.String("kernel", "6.1", "kernel to run on: "+strings.Join(kernelNames(), ", "))
	fetch := flags.String("fetch", "", "only fetch the kernel, for this architecture (amd64, arm64)")
	memory := flags.Int("memory", 3072, "memory of the machine in MiB")
	steady := flags.Bool("steady", false, "let the machine's time go by what it has executed: slower, and the same however busy this machine is (not with 5.10 and 6.1 on amd64, which do not start so)")
	verbose := flags.Bool("verbose", false, "show the messages of the kernel, too")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: guest [flags] EXECUTABLE [ARGUMENT...]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 0, errors.New("see guest -help")
	}
	if *fetch != "" {
		path, err := fetchKernel(*name, *fetch)
		if err == nil {
			fmt.Println(path)
		}
		return 0, err
	}
	if flags.NArg() == 0 {
		return 0, errors.New("which executable? See guest -help")
	}
	executable, arguments := flags.Arg(0), flags.Args()[1:]
	arch, err := architecture(executable)
	if err != nil {
		return 0, err
	}
	kernel, err := fetchKernel(*name, arch)
	if err != nil {
		return 0, err
	}
	programs, err := needs(executable, arch, arguments)
	if err != nil {
		return 0, err
	}
	root, err := newRoot(executable, arch, programs)
	if err != nil {
		return 0, err
	}
	root.job.Kernel = *name
	root.job.Args = append(root.job.Args, arguments...)
	archive, err := root.pack()
	if err != nil {
		return 0, err
	}
	defer archive.Close()
	m := machine{arch: arch, kernel: kernel, root: archive, memory: *memory, steady: *steady && startsSteady(*name, arch), verbose: *verbose, limit: limit(arguments)}
	return m.run(os.Stdout)
}
