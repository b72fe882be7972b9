package instrument_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/span"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// traceProgram traces functions of a program of testdata, built with a release of
// Go, and returns the spans.
func traceProgram(t *testing.T, name, version string, config instrument.Config, functions []string, args ...string) []*span.Span {
	t.Helper()
	source, err := os.ReadFile("testdata/" + name + "/main.go")
	if err != nil {
		t.Fatal(err)
	}
	archive := "-- go.mod --\nmodule example.com/" + name + "\n\ngo 1.20\n-- main.go --\n" + string(source)
	exe := testprog.Build(t, archive, testprog.Options{GoVersion: version})
	kerneltest.Require(t)
	config.Rules.Values = true
	for _, function := range functions {
		config.Rules.Patterns = append(config.Rules.Patterns, "main."+function)
	}
	spans, summary, _ := trace(t, config, target.Command{Path: exe, Args: args})
	if summary.LostSpans() != 0 || summary.Lost.ValuesFull != 0 {
		t.Errorf("lost: %+v", summary)
	}
	return spans
}

// roomVersions have maps of both kinds.
func roomVersions() []string { return []string{"go1.21.13", runtime.Version()} }

// captured are the attributes of a span that hold values, by what follows their
// prefix; no key may be there twice.
func captured(t *testing.T, s *span.Span) map[string]any {
	t.Helper()
	values := make(map[string]any)
	for _, a := range s.Attributes() {
		key, ok := strings.CutPrefix(a.Key, "uspan.arg.")
		if !ok {
			key, ok = strings.CutPrefix(a.Key, "uspan.")
		}
		if _, twice := values[key]; twice {
			t.Errorf("%s: the key %s is there twice", s.Function.Name, a.Key)
		}
		if ok {
			values[key] = a.Value
		}
	}
	return values
}

// The values of testdata/room are told by their places: n is a number in one.
var (
	placeOfText   = regexp.MustCompile(`^(?:s\[|m\["k|lines\[|more\[|ret\.0\[|ret\.1\["k)(\d+)"?\]$`)
	placeOfName   = regexp.MustCompile(`^(?:l\[|p\["k|o\[|q\["k|z\[)(\d+)"?\]\.(?:User|Owner)$`)
	placeOfTries  = regexp.MustCompile(`^(?:l\[|p\["k)(\d+)"?\]\.Tries$`)
	placeOfNumber = regexp.MustCompile(`^k\["k(\d+)"\]$`)
	placeOfSum    = regexp.MustCompile(`^mm\["k(\d+)"\]\["k(\d+)"\]$`)
	placeOfTruth  = regexp.MustCompile(`\]\.OK$`)
)

// truth is what testdata/room has at a place.
func truth(place string) (want any, known bool) {
	number := func(text string) int {
		n, _ := strconv.Atoi(text)
		return n
	}
	for _, text := range []*regexp.Regexp{placeOfText, placeOfName} {
		if m := text.FindStringSubmatch(place); m != nil {
			return fmt.Sprintf("text %s %s", m[1], strings.Repeat("x", 110)), true
		}
	}
	if m := placeOfTries.FindStringSubmatch(place); m != nil {
		return int64(100 + number(m[1])), true
	}
	if m := placeOfNumber.FindStringSubmatch(place); m != nil {
		return int64(number(m[1]) + 1), true
	}
	if m := placeOfSum.FindStringSubmatch(place); m != nil {
		return int64(10*number(m[1]) + number(m[2]) + 1), true
	}
	return true, placeOfTruth.MatchString(place)
}

// Where an event's room ends, what was read is right, what was not is not shown, and
// that is said.
func TestRoomEnds(t *testing.T) {
	for _, version := range roomVersions() {
		for _, bytes := range []int{instrument.MinEventBytes, 300, 555, 1024, 2000, instrument.MaxEventBytes} {
			for _, depth := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %d bytes, depth %d", version, bytes, depth), func(t *testing.T) {
					config := instrument.Config{EventBytes: bytes, Rules: plan.Rules{Depth: depth}}
					shown := 0
					for _, s := range traceProgram(t, "room", version, config, []string{"lists", "logins", "nested", "pins", "save", "load"}) {
						shown += checkRoom(t, s)
					}
					if shown < bytes/300 {
						t.Errorf("only %d values are shown", shown)
					}
				})
			}
		}
	}
}

// checkRoom compares what is shown with the truth, and what is missing with what is
// said of it; it returns how many values are shown.
func checkRoom(t *testing.T, s *span.Span) (shown int) {
	t.Helper()
	said := strings.Join(slices.Concat(s.Unavailable, s.Truncated), "\n")
	for place, value := range captured(t, s) {
		if slices.Contains([]string{"unavailable", "truncated", "redacted"}, place) {
			continue
		}
		if list, ok := value.([]string); ok {
			for i, text := range list {
				if want, _ := truth(fmt.Sprintf("%s[%d]", place, i)); text != want {
					t.Errorf("%s: %s[%d] = %v, not %v", s.Function.Name, place, i, text, want)
				}
			}
			shown += len(list)
			continue
		}
		want, known := truth(place)
		if !known {
			continue
		}
		text, _ := value.(string)
		all, _ := want.(string)
		cut := strings.HasPrefix(all, text) && strings.Contains(said, fmt.Sprintf("%s: %d of %d bytes", place, len(text), len(all)))
		if value != want && !cut {
			t.Errorf("%s: %s = %v, not %v", s.Function.Name, place, value, want)
		}
		shown++
	}
	var look func(path string, values []span.Value)
	look = func(path string, values []span.Value) {
		for _, v := range values {
			n := -1
			switch value := v.Value.(type) {
			case span.Map:
				n = len(value)
				look(path+v.Name, value)
			case span.List:
				n = len(value)
				look(path+v.Name, value)
			case []string:
				n = len(value)
			case span.Struct:
				look(path+v.Name+".", value)
			case nil:
				if v.Note == "" {
					t.Errorf("%s: nothing is said of %s%s", s.Function.Name, path, v.Name)
				}
			}
			if n >= 0 && n < 8 && !strings.Contains(said, path+v.Name+": "+strconv.Itoa(n)+" of ") {
				t.Errorf("%s: %d elements of %s%s, and nothing is said of it", s.Function.Name, n, path, v.Name)
			}
		}
	}
	look("arg.", s.Args)
	look("ret.", s.Results)
	return shown
}

// What is behind the bound of steps is not shown, and that is said.
func TestStepsEnd(t *testing.T) {
	config := instrument.Config{Rules: plan.Rules{Items: plan.MaxItems}}
	s := traceProgram(t, "room", runtime.Version(), config, []string{"steps"})[0]
	shown := 0
	for place, value := range captured(t, s) {
		if strings.HasPrefix(place, "a[") || strings.HasPrefix(place, "b[") {
			shown++
			if value != int64(1) {
				t.Errorf("%s = %v", place, value)
			}
		}
	}
	const all = 2 * 32 * 16
	said := strings.Join(slices.Concat(s.Unavailable, s.Truncated), "\n")
	if shown < all/2 || shown == all || !strings.Contains(said, "too many values before it") {
		t.Errorf("%d values are shown, and it is said: %s", shown, said)
	}
}

// An error that is returned is told, however full the event is of arguments and other
// results.
func TestErrorsHaveRoom(t *testing.T) {
	for _, version := range roomVersions() {
		for _, bytes := range []int{instrument.MinEventBytes, 700, instrument.MaxEventBytes} {
			t.Run(fmt.Sprintf("%s, %d bytes", version, bytes), func(t *testing.T) {
				failed := 0
				for _, s := range traceProgram(t, "room", version, instrument.Config{EventBytes: bytes}, []string{"save", "load", "join"}) {
					name := strings.TrimPrefix(s.Function.Name, "main.")
					failed++
					if s.Error == nil {
						t.Fatalf("%s has not failed: %q", name, s.Unavailable)
					}
					switch {
					case bytes == instrument.MinEventBytes:
					case name == "join" && s.Error.Type == "*errors.joinError":
						if bytes == instrument.MaxEventBytes && !strings.HasPrefix(s.Error.Message, "error 0\nerror 1") {
							t.Errorf("join: %q", s.Error.Message)
						}
					case name == "join":
					case s.Error.Message != "disk full":
						t.Errorf("%s: %q, %q", name, s.Error.Message, s.Unavailable)
					}
				}
				if failed != 4 {
					t.Errorf("%d calls have failed", failed)
				}
			})
		}
	}
}

// The values of keys that look like secrets are not read, of whatever type the keys
// are.
func TestSecretKeys(t *testing.T) {
	for _, version := range roomVersions() {
		t.Run(version, func(t *testing.T) {
			s := traceProgram(t, "room", version, instrument.Config{}, []string{"secretKeys"})[0]
			values := captured(t, s)
			if text := fmt.Sprint(values); strings.Contains(text, "HIDE") {
				t.Errorf("a secret is shown: %s", text)
			}
			for place, want := range map[string]any{
				`a["user"].value`: "eve", `a[3].value`: "x", `n["a"]`: "b", `p[["user"]]`: "eve", `b["user1234"]`: "eve",
				`s[{"user"}]`: "eve", `i[{"user"}]`: "eve", `i["1s"]`: "s", "f[0.5]": "half",
			} {
				if values[place] != want {
					t.Errorf("%s = %v, not %v", place, values[place], want)
				}
			}
			if len(s.Redacted) != 9 {
				t.Errorf("redacted: %q", s.Redacted)
			}
		})
	}
}

// Keys that are shown alike are told apart: no attribute is there twice. Values
// without bytes are there, and so are the entries of maps whatever their size.
func TestKeysAndSizes(t *testing.T) {
	for _, version := range roomVersions() {
		t.Run(version, func(t *testing.T) {
			all := make(map[string]map[string]any)
			config := instrument.Config{Rules: plan.Rules{Depth: 2}}
			for _, s := range traceProgram(t, "room", version, config, []string{"alike", "zero", "inSlots", "behindPointers", "byNumbers"}) {
				all[strings.TrimPrefix(s.Function.Name, "main.")] = captured(t, s)
			}
			for function, places := range map[string]map[string]any{
				"alike": {
					"p[{1 2}]": "x", "p[{3 4}]": "y", "f[NaN]": int64(1), "f[NaN #2]": int64(1), "f[+Inf]": int64(2), "a[nil]": int64(7),
					`a["s"]`: int64(1), "a[{1 2}]": int64(5), "n[nil]": int64(3), `t["1970-01-01T00:00:01Z"]`: int64(1),
					`t["1970-01-01T00:00:01Z" #2]`: int64(1), `l[["a b" "c"]]`: int64(1), `l[["a" "b c"]]`: int64(2),
				},
				"zero": {
					`m["a"]`: "{}", `m["b"]`: "{}", "n[1]": "{}", "s[0]": "{}", "s[2]": "{}", "a[2]": "{}", "i.type": "struct {}",
					"i.value": "{}", "e": "{}", `last["password"]`: "{}",
				},
				"behindPointers": {"few[7].Name": "seven"},
				"byNumbers":      {`names["` + strings.Repeat("a", 64) + `"]`: "x"},
			} {
				for place, want := range places {
					if got := all[function][place]; got != want {
						t.Errorf("%s: %s = %v, not %v", function, place, got, want)
					}
				}
			}
			// Of 30 entries, four groups of eight slots are read.
			for _, function := range []string{"inSlots", "behindPointers", "byNumbers"} {
				entries := 0
				for place, value := range all[function] {
					if strings.HasPrefix(place, "l[") && strings.HasSuffix(place, ".Name") && value == "n" {
						entries++
					}
				}
				said, _ := all[function]["truncated"].([]string)
				if !slices.ContainsFunc(said, func(note string) bool { return strings.Contains(note, " of 30") }) || entries < 8 {
					t.Errorf("%s: %d entries: %q, %q", function, entries, said, all[function]["unavailable"])
				}
			}
		})
	}
}

// Values that change while they are read are shown as they were at some moment, each
// for itself; nothing is read beyond the bounds, and no call is lost.
func TestRacingValues(t *testing.T) {
	const calls = 3000
	word := regexp.MustCompile(`^(alpha alpha alpha alpha|bravo bravo bravo bravo|china china china china|delta delta delta delta)$`)
	number := regexp.MustCompile(`^[1-9]$`)
	valid := []struct{ place, value *regexp.Regexp }{
		{regexp.MustCompile(`^(m\["k1?\d"\]|l\[1?\d\]\.Name|p\["k1?\d"\](\.Name)?|s\[\d\]|a\[[0-2]\]\.value|h\[[0-5]\]\[[0-4]\])$`), word},
		{regexp.MustCompile(`^(l\[1?\d\]\.N|p\["k1?\d"\]\.N)$`), number},
		{regexp.MustCompile(`^a\[[0-2]\]\.type$`), regexp.MustCompile("^string$")},
		// An entry is in use before it has its value, and without a key before it is free.
		{regexp.MustCompile(`^g\[("g\d{5}"|""( #\d+)?|nil( #\d+)?)\]$`), regexp.MustCompile(`^\d$`)},
	}
	for _, version := range roomVersions() {
		for _, bytes := range []int{600, instrument.MaxEventBytes} {
			t.Run(fmt.Sprintf("%s, %d bytes", version, bytes), func(t *testing.T) {
				config := instrument.Config{EventBytes: bytes, Rules: plan.Rules{Depth: 2}}.WithRing(roomForAll)
				spans := traceProgram(t, "racing", version, config, []string{"look"}, strconv.Itoa(calls))
				if len(spans) != calls {
					t.Errorf("%d spans", len(spans))
				}
				check := func(place string, value any) {
					for _, v := range valid {
						if v.place.MatchString(place) {
							if !v.value.MatchString(fmt.Sprint(value)) {
								t.Errorf("%s = %v", place, value)
							}
							return
						}
					}
					t.Errorf("unexpected: %s = %v", place, value)
				}
				for _, s := range spans {
					values := captured(t, s)
					if len(values) > 200 {
						t.Errorf("%d values", len(values))
					}
					for place, value := range values {
						switch place {
						case "goroutine.id", "thread.id", "unavailable", "truncated", "redacted":
							continue
						}
						list, ok := value.([]string)
						if !ok {
							check(place, value)
						}
						for i, text := range list {
							check(fmt.Sprintf("%s[%d]", place, i), text)
						}
					}
					if t.Failed() {
						t.Logf("%q %q", s.Unavailable, s.Truncated)
						break
					}
				}
			})
		}
	}
}
