package instrument_test

import (
	"os"
	"testing"

	"github.com/uspan/uspan/internal/leaktest"
)

// No goroutine is left behind when a trace is closed.
func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
