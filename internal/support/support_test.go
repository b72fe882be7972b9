package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/docs"
)

// The pages show what is kept of the runs, and which tests came later.
func TestPages(t *testing.T) {
	t.Chdir("../..")
	results, err := settled("docs/support")
	if err != nil {
		t.Fatal(err)
	}
	table := summary(results)
	for name, want := range map[string]string{"README.md": docs.Wrap(command, table), "docs/support.md": page(table, results)} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not what docs/support and the tests say: make support writes it", name)
		}
	}
}

// What failed or did not run is never counted as passed.
func TestPage(t *testing.T) {
	const events = `{"Action":"output","Package":"github.com/uspan/uspan/bpf","Output":"guest: Linux 6.1.0-50-cloud-amd64 x86_64\n"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/a","Key":"built","Value":"go1.18.10 -buildmode=pie"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/a","Key":"spans","Value":"exact"}
{"Action":"pass","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/a"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/b","Key":"built","Value":"go1.18.10 strip"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/b","Key":"spans","Value":"calls"}
{"Action":"pass","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/b"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/c","Key":"built","Value":"go1.9 default"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/c","Key":"spans","Value":"exact"}
{"Action":"fail","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/c"}
{"Action":"attr","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/d","Key":"built","Value":"go1.27.1 cgo"}
{"Action":"output","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/d","Output":"    x_test.go:9: no gcc: none\n"}
{"Action":"skip","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions/d"}
{"Action":"fail","Package":"github.com/uspan/uspan/instrument","Test":"TestVersions"}
{"Action":"fail","Package":"github.com/uspan/uspan/instrument"}
`
	r := &result{Kernel: "6.1", Arch: "amd64", Tests: make(map[string]outcome)}
	if err := r.read(strings.NewReader(events), "abc1234"); err != nil {
		t.Fatal(err)
	}
	r.settle([]string{"instrument TestNew", "instrument TestVersions"})
	below := &result{Kernel: belowFloor, Arch: "arm64", Release: "5.10.0-1-cloud-arm64",
		Tests: map[string]outcome{"instrument TestBelowFloor": {Action: "pass"}}}
	// a machine that ended among the builds
	ended := &result{Kernel: "6.2", Arch: "amd64", Release: "6.2.0-1-cloud-amd64", Tests: map[string]outcome{
		"instrument TestVersions/a": r.Tests["instrument TestVersions/a"]}}
	ended.settle([]string{"instrument TestVersions"})
	results := []*result{below, r, ended}
	text := page(summary(results), results)
	for _, want := range []string{
		"| 5.10.0-1 (Debian) | arm64 | refused | none |  |\n",
		"| 6.1.0-50 (Debian) | amd64 | 2 passed, 2 failed, 1 not run yet | 1 of 4 exact, 1 by the number of calls, 1 failed, 1 did not run: go1.18.10; 2 ways to build | abc1234 |\n",
		"| 6.2.0-1 (Debian) | amd64 | 1 passed, 1 not run yet | 1 of 4 exact, 3 did not run: go1.18.10; 1 ways to build | abc1234 |\n",
		"| built | go1.9 | go1.18.10 | go1.27.1 |\n",
		"| `-buildmode=pie` | –– | ✓✓ | –– |\n",
		"| `strip` | –– | ○? | –– |\n",
		"| `default` | ✗? | –– | –– |\n",
		"| `cgo` | –– | –– | ?? |\n",
		"| `instrument TestVersions/c` | 6.1.0-50 (Debian) amd64 | **failed** |\n",
		"| `instrument TestVersions/d` | 6.1.0-50 (Debian) amd64 | no gcc: none |\n",
		"| 6.1.0-50 (Debian) amd64 | `instrument TestNew` |\n",
		"| 6.2.0-1 (Debian) amd64 | `instrument TestVersions` |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// What ran another time counts as long as there is such a test.
func TestMerge(t *testing.T) {
	passed := func(names ...string) *result {
		r := &result{Release: "6.1.0", Tests: make(map[string]outcome)}
		for _, name := range names {
			r.Tests[name] = outcome{Action: "pass"}
		}
		return r
	}
	before := passed("instrument/attach TestSome/a", "instrument/attach TestSome", "bpf TestSome", "bpf", "bpf TestGone/a", "bpf TestGone", "bpf TestNow/old", "bpf TestNow")
	tests := []string{"bpf TestNever", "bpf TestNow", "bpf TestSome", "instrument/attach TestSome"}
	for parts, want := range map[bool][]string{
		false: {"bpf TestNow", "bpf TestNow/new", "bpf TestSome", "instrument/attach TestSome", "instrument/attach TestSome/a"},
		true:  {"bpf TestNow", "bpf TestNow/new", "bpf TestNow/old", "bpf TestSome", "instrument/attach TestSome", "instrument/attach TestSome/a"},
	} {
		r := passed("bpf TestNow/new", "bpf TestNow")
		r.merge(before, parts)
		r.settle(tests)
		if got := r.with("pass"); !slices.Equal(got, want) {
			t.Errorf("parts %t: %q", parts, got)
		}
		if want := []string{"bpf TestNever"}; !slices.Equal(r.Missing, want) {
			t.Errorf("missing: %q", r.Missing)
		}
		other := passed("bpf TestNow")
		other.Release = "6.2.0"
		other.merge(before, parts)
		if len(other.Tests) != 1 {
			t.Errorf("of another kernel: %q", other.with("pass"))
		}
	}
}

// The page names what runs on this kernel and on no other one.
func TestNeverInMachines(t *testing.T) {
	t.Chdir("../..")
	here, err := machine{"", "amd64"}.tests()
	if err != nil {
		t.Fatal(err)
	}
	there, err := machine{"6.1", "arm64"}.tests()
	if err != nil {
		t.Fatal(err)
	}
	below, err := machine{belowFloor, "amd64"}.tests()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(there, "instrument TestVersions") || !slices.Contains(below, "instrument "+refusal) {
		t.Errorf("%q, and below the floor %q", there, below)
	}
	text := page("", nil)
	for _, name := range here {
		if named := strings.Contains(text, "`"+name+"`"); named == slices.Contains(there, name) {
			t.Errorf("%s: named %t", name, named)
		}
	}
}
