package instrument_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/span"
)

// growth is an Output that looks at uspan's own memory once the first so many spans
// have come. What it is when the target has done everything is put into after.
type growth struct {
	instrument.Output
	first, spans int

	mu            sync.Mutex
	before, after memory
}

// memory is what the process uses, in bytes, when garbage is collected and what is
// free is given back.
type memory struct{ heap, anonymous uint64 }

func (g *growth) Export(spans []*span.Span) {
	g.Output.Export(spans)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spans += len(spans); g.before == (memory{}) && g.spans >= g.first {
		g.before = memoryInUse()
	}
}

// settle looks at the memory until it has not grown: what is still to be told when the
// target has done everything takes some.
func (g *growth) settle() {
	for range 60 {
		now := memoryInUse()
		g.mu.Lock()
		g.after = now
		grown := g.grown()
		g.mu.Unlock()
		if !grown {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// grown says whether the memory is more than what comes and goes. The caller holds g.mu.
func (g *growth) grown() bool {
	return g.after.heap > g.before.heap+4<<20 || g.after.anonymous > g.before.anonymous+16<<20
}

// check says what has grown.
func (g *growth) check(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	t.Logf("after %d spans %v, after %d %v", g.first, g.before, g.spans, g.after)
	if g.before == (memory{}) || g.after == (memory{}) || g.grown() {
		t.Errorf("uspan's memory has grown from %v to %v", g.before, g.after)
	}
}

func memoryInUse() (m memory) {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m.heap = stats.HeapAlloc
	status, _ := os.ReadFile("/proc/self/status")
	_, line, _ := strings.Cut(string(status), "RssAnon:")
	fmt.Sscan(line, &m.anonymous)
	m.anonymous <<= 10
	return m
}

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB of heap, %.1f MiB resident", float64(m.heap)/(1<<20), float64(m.anonymous)/(1<<20))
}
