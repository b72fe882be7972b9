package main

import (
	"errors"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// A stream is standard output, for outputs to write to.
type stream struct {
	*os.File
	// unread is called when nobody reads it any more.
	unread func()
}

func (s stream) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	if errors.Is(err, unix.EPIPE) {
		s.unread()
	}
	return n, err
}

// surviveClosedPipes makes it an error to write to a pipe that nobody reads,
// where the runtime would otherwise end uspan for its standard streams: what is
// in other outputs would be lost. The signal itself tells nothing, as
// connections send it, too.
func surviveClosedPipes() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }
