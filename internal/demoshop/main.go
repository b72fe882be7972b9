// Demoshop runs examples/shop, Jaeger and uspan as plain processes, shows what
// there is to see in the shop's traces, and ends them all.
//
//	make demo-shop
//	sudo go run ./internal/demoshop -bin bin -for 30s
//
// A Jaeger on the PATH is used, with its pages; one that has to be built from its
// module has none, and its traces are shown here alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/uspan/uspan/internal/jaegertest"
)

func main() {
	bin := flag.String("bin", "bin", "the folder of uspan, front, stock and load")
	duration := flag.Duration("for", 0, "end after this time, rather than at Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *duration); err != nil {
		fmt.Fprintln(os.Stderr, "demo-shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, duration time.Duration) (err error) {
	jaeger, pages, err := findJaeger()
	if err != nil {
		return err
	}
	if duration > 0 { // which a Jaeger that is built first is no part of
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	addresses, err := freeAddresses()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "demo-shop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "jaeger.yaml")
	if err := os.WriteFile(config, []byte(jaegertest.Configuration(addresses.otlp, addresses.query, addresses.queryGRPC)), 0o600); err != nil {
		return err
	}

	processes := &processes{dir: dir, ended: make(chan error, 1)}
	defer func() { err = errors.Join(err, processes.end()) }()
	front, stock := filepath.Join(bin, "front"), filepath.Join(bin, "stock")
	for _, p := range []struct {
		service string
		args    []string
	}{
		{"", []string{jaeger, "--config", config}},
		{stockService, []string{stock, "-listen", addresses.stock}},
		{frontService, []string{front, "-listen", addresses.front, "-stock", addresses.stock}},
		{"", []string{filepath.Join(bin, "uspan"), "attach", "-f", "main.*", "-f", "!*.func*", "-f", "!main.main",
			"-o", "otlp=http://" + addresses.otlp, front, stock}},
		{"", []string{filepath.Join(bin, "load"), "-front", "http://" + addresses.front}},
	} {
		if err := processes.start(p.service, p.args...); err != nil {
			return err
		}
	}
	fmt.Printf("The shop answers at http://%s, and uspan watches it.\n", addresses.front)

	ctx, cancel := context.WithCancelCause(ctx)
	go func() { cancel(<-processes.ended) }()
	err = show(ctx, jaegertest.Client{URL: "http://" + addresses.query}, pages)
	if err == nil {
		fmt.Println("\nCtrl-C ends all of it.")
		<-ctx.Done()
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errEnded):
		return cause
	case errors.Is(ctx.Err(), context.Canceled):
		return nil // Ctrl-C
	}
	return err
}

// findJaeger returns an executable, and whether it has pages.
func findJaeger() (path string, pages bool, err error) {
	if path, err := exec.LookPath("jaeger"); err == nil {
		return path, true, nil
	}
	fmt.Println("There is no jaeger on the PATH: one is taken that is built once, which takes minutes.")
	path, err = jaegertest.Executable()
	return path, false, err
}

// addresses are where all listen.
type addresses struct{ otlp, query, queryGRPC, front, stock string }

// freeAddresses are loopback addresses that nobody listens on just now; Jaeger's
// pages are where people look for them, if they can be.
func freeAddresses() (addresses, error) {
	var a addresses
	for address, wanted := range map[*string]string{
		&a.otlp: "127.0.0.1:0", &a.query: "127.0.0.1:16686", &a.queryGRPC: "127.0.0.1:0", &a.front: "127.0.0.1:0", &a.stock: "127.0.0.1:0",
	} {
		listener, err := net.Listen("tcp", wanted)
		if err != nil {
			listener, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			return a, err
		}
		defer listener.Close() // held until all are chosen, so that they differ
		*address = listener.Addr().String()
	}
	return a, nil
}

var errEnded = errors.New("ended by itself")

// processes are all that were started.
type processes struct {
	dir   string
	all   []*process
	ended chan error // the first that ended by itself
}

type process struct {
	*exec.Cmd
	log  *os.File
	done chan struct{}
}

// start starts a process, which ends with this one. A service is called so in
// its environment, as anywhere where there is OpenTelemetry.
func (p *processes) start(service string, args ...string) error {
	name := filepath.Base(args[0])
	log, err := os.Create(filepath.Join(p.dir, name+".log"))
	if err != nil {
		return err
	}
	started := &process{exec.Command(args[0], args[1:]...), log, make(chan struct{})}
	started.Stdout, started.Stderr = log, log
	started.Env = append(os.Environ(), "OTEL_SERVICE_NAME="+service)
	// Not of the terminal's group, which Ctrl-C ends all at once.
	started.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := started.Start(); err != nil {
		log.Close()
		return err
	}
	p.all = append(p.all, started)
	go func() {
		defer close(started.done)
		_ = started.Wait() // how it ended is in its state
		select {
		case p.ended <- fmt.Errorf("%s %w: %s\n%s", name, errEnded, started.ProcessState, started.says()):
		default:
		}
	}()
	return nil
}

// end ends all, the last one first: uspan has calls to report, and Jaeger is
// there to take them. The others have nothing to lose where they take too long.
func (p *processes) end() error {
	var err error
	for i := len(p.all) - 1; i >= 0; i-- {
		started := p.all[i]
		isUspan := filepath.Base(started.Path) == "uspan"
		_ = started.Process.Signal(syscall.SIGTERM)
		patience := 2 * time.Second
		if isUspan {
			patience = 20 * time.Second
		}
		select {
		case <-started.done:
		case <-time.After(patience):
			if isUspan {
				err = errors.New("uspan does not end: killed")
			}
			_ = started.Process.Kill()
			<-started.done
		}
		if isUspan {
			fmt.Printf("\n%s", started.says())
		}
		started.log.Close()
	}
	return err
}

// says is what a process has written up to now.
func (p *process) says() []byte {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return []byte(err.Error())
	}
	return text
}
