package instrument_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine is left behind when a trace is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
