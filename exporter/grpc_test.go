package exporter

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/uspan/uspan/internal/otlptest"
)

// What an endpoint answers decides between sending again and loss.
func TestAnswersOverGRPC(t *testing.T) {
	tests := map[string]struct {
		answer otlptest.Answer
		again  bool
		reason string
	}{
		"unavailable":        {otlptest.Fail(codes.Unavailable), true, ""},
		"aborted":            {otlptest.Fail(codes.Aborted), true, ""},
		"deadline":           {otlptest.Fail(codes.DeadlineExceeded), true, ""},
		"throttled":          {otlptest.Throttle(10 * time.Millisecond), true, ""},
		"resource exhausted": {otlptest.Fail(codes.ResourceExhausted), false, "ResourceExhausted: as the test wants it"},
		"unauthenticated":    {otlptest.Fail(codes.Unauthenticated), false, "Unauthenticated: as the test wants it (credentials go into OTEL_EXPORTER_OTLP_HEADERS)"},
		"unimplemented":      {otlptest.Fail(codes.Unimplemented), false, "Unimplemented: as the test wants it"},
		"part rejected":      {otlptest.Reject(3, "bad\x1b[2J attribute"), false, "bad\uFFFD[2J attribute"},
		"all rejected":       {otlptest.Reject(5, ""), false, "no reason given"},
		"too many rejected":  {otlptest.Reject(99, "all of them"), false, "all of them"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			receiver := otlptest.Start(t)
			receiver.Answer(test.answer)
			said := newMessages()
			o := openWarning(t, receiver.Endpoint(), said.warn)
			o.Export(failures(5))
			<-said.heard
			receiver.Answer(nil)
			shutdown(t, o)
			got, stats := uint64(len(receiver.Spans())), o.Stats()
			if test.again {
				if got != 5 || stats.Exported != 5 || stats.LostSpans() != 0 {
					t.Errorf("received %d, stats %+v: want all of them", got, stats)
				}
				return
			}
			if stats.Exported != got || stats.Exported+stats.LostSpans() != 5 {
				t.Errorf("received %d, stats %+v", got, stats)
			}
			if len(stats.Lost) != 1 || stats.Lost[0].Cause != Rejected || stats.Lost[0].Reason != test.reason {
				t.Errorf("lost %+v, want reason %q", stats.Lost, test.reason)
			}
			if texts := said.list(); len(texts) != 1 || !strings.Contains(texts[0], " lost (rejected): "+test.reason) {
				t.Errorf("messages %q", texts)
			}
		})
	}
}

// A connection whose other side has vanished is given up by the kernel.
func TestSilentConnection(t *testing.T) {
	receiver := otlptest.Start(t)
	o := open(t, receiver)
	o.Export(failures(1))
	receiver.WaitSpans(1)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(receiver.Base(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		fd, err := strconv.Atoi(d.Name())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := unix.Getpeername(fd)
		if err != nil {
			continue
		}
		if to, ok := peer.(*unix.SockaddrInet4); !ok || strconv.Itoa(to.Port) != port {
			continue
		}
		found++
		timeout, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil || timeout != int(silence/time.Millisecond) {
			t.Errorf("TCP_USER_TIMEOUT %d ms, %v", timeout, err)
		}
	}
	if found != 1 {
		t.Errorf("%d connections to the receiver", found)
	}
	shutdown(t, o)
}

func TestUnixSocket(t *testing.T) {
	receiver := otlptest.Config{Socket: filepath.Join(t.TempDir(), "otlp.sock")}.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") // the scheme tells it
	o := open(t, receiver)
	o.Export(failures(5))
	shutdown(t, o)
	if got := len(receiver.Spans()); got != 5 {
		t.Errorf("received %d over %s", got, receiver.Endpoint())
	}
}
