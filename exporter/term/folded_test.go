package term

import (
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/profile"
	"github.com/uspan/uspan/instrument/span"
)

func TestWriteFolded(t *testing.T) {
	counts := []profile.Count{{Stack: &span.Stack{Frames: []span.Frame{{Function: "m.f\x1b[7m"}, {Function: "main.main"}}}, Calls: 3}}
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "main.main;m.f\x1b[7m 3\n"},
		{Config{Color: true}, "\x1b[2mmain.main;\x1b[0m\x1b[1mm.f\\x1b[7m\x1b[0m \x1b[36m3\x1b[0m\n"},
	} {
		var b strings.Builder
		if err := WriteFolded(&b, test.config, counts); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != test.want {
			t.Errorf("colours %t: %q, want %q", test.config.Color, got, test.want)
		}
	}
}
