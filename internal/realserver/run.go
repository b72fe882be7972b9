package realserver

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long a server may take until it is ready.
const startTimeout = 2 * time.Minute

// A Server is a running one, that ends with its test. Where the test fails, its
// log is in the test's.
type Server struct{ log Buffer }

// Log is what the server has written up to now.
func (s *Server) Log() string { return s.log.String() }

// Start runs a server until the test ends, and returns when it is ready, which
// it has no other way to say than by ready, without an error.
func Start(t testing.TB, ready func() error, executable string, args ...string) *Server {
	t.Helper()
	s := &Server{}
	name := filepath.Base(executable)
	cmd := exec.Command(executable, args...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // that it ended is the news; why is in its log
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, s.Log())
		}
	})
	deadline := time.After(startTimeout)
	for {
		err := ready()
		if err == nil {
			return s
		}
		select {
		case <-ended:
			t.Fatalf("start %s: it ended before it was ready", name)
		case <-deadline:
			t.Fatalf("start %s: not ready after %v: %v", name, startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Linux hands out ports from 32768 on: what asks for any port, or connects,
// cannot take one of these between the choice and the start of the server.
const firstPort, lastPort = 10_000, 32_000

// FreeAddresses are n loopback addresses that nobody listens on, each other than
// the others.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var addresses []string
	for attempts := 0; len(addresses) < n; attempts++ {
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		switch {
		case err == nil:
			defer listener.Close() // held until all are chosen, so that they differ
			addresses = append(addresses, listener.Addr().String())
		case attempts > 10*n:
			t.Fatal(err)
		}
	}
	return addresses
}

// A Buffer is filled and read at once.
type Buffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}
