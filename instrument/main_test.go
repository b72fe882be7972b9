package instrument_test

import (
	"testing"

	"github.com/uspan/uspan/internal/leaktest"
)

// No goroutine is left behind when a trace is closed.
func TestMain(m *testing.M) { leaktest.Main(m) }
