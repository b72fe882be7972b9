package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/docs"
)

// The README shows what the page says, which a run of the tests wrote.
func TestREADME(t *testing.T) {
	var tables []string
	for _, name := range []string{"README.md", "docs/support.md"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		_, table, _, found := docs.Cut(string(text), command)
		if !found || strings.Count(table, "\n") < 3 {
			t.Fatalf("%s has no table: make test-kernels writes it", name)
		}
		tables = append(tables, table)
	}
	if tables[0] != tables[1] {
		t.Errorf("README.md says\n%sand docs/support.md\n%s", tables[0], tables[1])
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
{"Action":"fail","Package":"github.com/uspan/uspan/instrument"}
`
	r := &result{Kernel: "6.1", Arch: "amd64", Tests: make(map[string]outcome)}
	if err := r.read(strings.NewReader(events), "abc1234"); err != nil {
		t.Fatal(err)
	}
	below := &result{Kernel: belowFloor, Arch: "arm64", Release: "5.10.0-1-cloud-arm64",
		Tests: map[string]outcome{"instrument TestBelowFloor": {Action: "pass"}}}
	results := []*result{below, r}
	text := page(summary(results), results)
	for _, want := range []string{
		"| 5.10.0-1 (Debian) | arm64 | refused | none |  |\n",
		"| 6.1.0-50 (Debian) | amd64 | 2 passed, 1 failed | 2 of 4 exact: go1.18.10 to go1.18.10, 2 ways to build | abc1234 |\n",
		"| built | go1.9 | go1.18.10 | go1.27.1 |\n",
		"| `-buildmode=pie` | – | ✓ | – |\n",
		"| `strip` | – | ○ | – |\n",
		"| `default` | ✗ | – | – |\n",
		"| `cgo` | – | – | – |\n",
		"| `instrument TestVersions/c` | 6.1.0-50 (Debian) amd64 | **failed** |\n",
		"| `instrument TestVersions/d` | 6.1.0-50 (Debian) amd64 | no gcc: none |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
