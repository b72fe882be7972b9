package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/uspan/uspan/internal/docs"
)

// command makes the table that both pages have.
const command = "make test-kernels"

// sign is how a page shows what came of a build.
func sign(o outcome) string {
	switch {
	case o.Action == "fail":
		return "✗"
	case o.Action == "pass" && o.Spans == "exact":
		return "✓"
	case o.Action == "pass" && o.Spans == "calls":
		return "○"
	}
	return "?"
}

// writePage writes the page of all results, and their summary into the README.
func writePage(path, readme string, results []*result) error {
	table := summary(results)
	return errors.Join(
		docs.Put(readme, command, table),
		os.WriteFile(path, []byte(page(table, results)), 0o644))
}

// summary is the table of kernels and architectures.
func summary(results []*result) string {
	var b strings.Builder
	b.WriteString("| Linux | on | tests | builds of the counting program | commit |\n|---|---|---|---|---|\n")
	tested := testedBuilds(results)
	for _, r := range results {
		passed, failed := len(r.with("pass")), len(r.with("fail"))
		tests := fmt.Sprintf("%d passed", passed)
		if failed > 0 {
			tests += fmt.Sprintf(", %d failed", failed)
		}
		builds := counted(r, len(tested[r.Arch]))
		if r.Kernel == belowFloor {
			tests, builds = "refused", "none"
			if passed == 0 || failed > 0 {
				tests = "failed"
			}
		}
		if len(r.Missing) > 0 {
			tests += fmt.Sprintf(", %d not run yet", len(r.Missing))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", release(r), r.Arch, tests, builds,
			strings.Join(r.commits(), ", "))
	}
	return b.String()
}

// release is a kernel's version without what is its builder's.
func release(r *result) string {
	if r.Kernel == "this" {
		release, _, _ := strings.Cut(r.Release, "-")
		return release
	}
	release, _, _ := strings.Cut(r.Release, "-cloud")
	return release + " (Debian)"
}

// A build is one of the counting program's, by release of Go and way to build.
type build struct{ version, way string }

// testedBuilds are the builds that ran on any kernel, by architecture.
func testedBuilds(results []*result) map[string]map[build]bool {
	all := make(map[string]map[build]bool)
	for _, r := range results {
		if all[r.Arch] == nil {
			all[r.Arch] = make(map[build]bool)
		}
		for _, c := range r.cells() {
			all[r.Arch][build{c.Go, c.Build}] = true
		}
	}
	return all
}

// counted says what came of the builds, out of so many for the architecture, and
// over what they go.
func counted(r *result, all int) string {
	cells := r.cells()
	if len(cells) == 0 {
		return "none"
	}
	signs := map[string]int{"?": all - len(cells)}
	versions, builds := make(map[string]bool), make(map[string]bool)
	for _, c := range cells {
		signs[sign(c)]++
		if c.Action == "pass" {
			versions[c.Go], builds[c.Build] = true, true
		}
	}
	text := fmt.Sprintf("%d of %d exact", signs["✓"], all)
	for _, other := range []struct{ sign, words string }{
		{"○", "by the number of calls"}, {"✗", "failed"}, {"?", "did not run"},
	} {
		if n := signs[other.sign]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, other.words)
		}
	}
	if len(builds) == 0 {
		return text
	}
	return fmt.Sprintf("%s: %s; %d ways to build", text,
		releases(slices.SortedFunc(maps.Keys(versions), compareVersions)), len(builds))
}

// releases are those of Go, in order: each by itself, unless no minor version between
// the first and the last is left out.
func releases(versions []string) string {
	for i := 1; i < len(versions); i++ {
		if numbers(versions[i])[1] > numbers(versions[i-1])[1]+1 {
			return strings.Join(versions, ", ")
		}
	}
	if len(versions) < 3 {
		return strings.Join(versions, ", ")
	}
	return versions[0] + " to " + versions[len(versions)-1] + ", every minor version"
}

// page is the whole page.
func page(table string, results []*result) string {
	var b strings.Builder
	b.WriteString(`# What uspan has been run on

Written by ` + "`" + command + "`" + ` from the tests that it ran; [what did not run](#what-did-not-run-or-failed) is named. They take hours, so a kernel can be run by itself; the table says which commit it was. The other kernels are Debian's, in virtual machines without virtualization of the processor (QEMU's TCG); a machine with amd64 has processors that take turns. A program that a test keeps busy gets the processors of such a machine when nothing else wants them (nice 19).

` + docs.Wrap(command, table) + `
The tests are those of ` + "`" + strings.Join(packages, "`, `") + "`" + `; those that passed and failed are counted with their parts. On kernels without uprobe_multi links (before 6.6) they go by perf events.

The counting program counts its own calls, under deep recursion, growing and shrinking stacks, garbage collection, blocking and goroutines by the thousand, and uspan's spans are compared with its own account:

- ✓ exact: every call has one span, with its parent, arguments, results, and a duration that its body fits in; the functions of executables without DWARF are declared
- ○ by the number of calls: every one has one span, and no more was compared
- ✗ that was not so
- ? did not run: it was skipped, for the reason that is below, or has not run yet
- – is not tested: of that release there is no such build
`)
	arches := make(map[string]bool)
	for _, r := range results {
		arches[r.Arch] = true
	}
	for _, arch := range slices.Sorted(maps.Keys(arches)) {
		cells(&b, arch, slices.DeleteFunc(slices.Clone(results), func(r *result) bool {
			return r.Arch != arch || len(r.cells()) == 0
		}))
	}
	notRun(&b, results)
	return b.String()
}

// cells writes the table of one architecture: a row for each way to build, and
// in each column, a release of Go, a sign for each kernel.
func cells(b *strings.Builder, arch string, results []*result) {
	if len(results) == 0 {
		return
	}
	versions, ways, tested := make(map[string]bool), []string{}, testedBuilds(results)[arch]
	got := make(map[string]map[build]outcome) // by the kernel's release
	var kernels []string
	for _, r := range results {
		kernels = append(kernels, release(r))
		got[r.Release] = make(map[build]outcome)
		for _, c := range r.cells() {
			versions[c.Go] = true
			if !slices.Contains(ways, c.Build) {
				ways = append(ways, c.Build)
			}
			got[r.Release][build{c.Go, c.Build}] = c
		}
	}
	columns := slices.SortedFunc(maps.Keys(versions), compareVersions)
	fmt.Fprintf(b, "\n## %s\n\nThe signs are for Linux %s, in this order.\n\n| built |", arch, strings.Join(kernels, ", "))
	for _, version := range columns {
		fmt.Fprintf(b, " %s |", version)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, way := range ways {
		fmt.Fprintf(b, "| `%s` |", way)
		for _, version := range columns {
			b.WriteByte(' ')
			for _, r := range results {
				if !tested[build{version, way}] {
					b.WriteString("–")
					continue
				}
				b.WriteString(sign(got[r.Release][build{version, way}]))
			}
			b.WriteString(" |")
		}
		b.WriteByte('\n')
	}
}

// notRun lists what failed and what did not run, with the reasons.
func notRun(b *strings.Builder, results []*result) {
	type line struct{ test, reason string }
	where := make(map[line][]string)
	for _, r := range results {
		on := release(r) + " " + r.Arch
		for _, name := range r.with("fail") {
			l := line{name, "**failed**"}
			where[l] = append(where[l], on)
		}
		for _, name := range r.with("skip") {
			l := line{name, r.Tests[name].Reason}
			where[l] = append(where[l], on)
		}
	}
	b.WriteString("\n## What did not run, or failed\n\n| test | on | why |\n|---|---|---|\n")
	lines := slices.SortedFunc(maps.Keys(where), func(a, b line) int {
		return cmp.Or(cmp.Compare(a.test, b.test), cmp.Compare(a.reason, b.reason))
	})
	for _, l := range lines {
		on := strings.Join(where[l], ", ")
		if len(where[l]) == len(results) {
			on = "all"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", l.test, on, strings.ReplaceAll(l.reason, "|", "\\|"))
	}
	missing(b, results)
	b.WriteString(`
Never in a virtual machine (` + "`make test`" + ` runs them on this kernel):

| tests | why |
|---|---|
| ` + "`internal/e2e`" + ` | they need Docker and Jaeger |
| ` + "`cmd/uspan`, `instrument/target`" + ` | they build programs while they run, and need users, terminals and a shell |
| ` + "`instrument " + onlyHere + "`" + ` | it traces ten thousand functions of the go command, which builds a program |
| ` + "`instrument TestArchiveInC`, `instrument TestPluginHost`, `instrument TestLibraryInC`" + ` | they need a C compiler, or build programs, while they run |
| ` + "`internal/bench`" + ` | no time is measured in emulation |
`)
}

// missing lists the tests that have not run yet.
func missing(b *strings.Builder, results []*result) {
	if !slices.ContainsFunc(results, func(r *result) bool { return len(r.Missing) > 0 }) {
		return
	}
	b.WriteString("\nNot run yet:\n\n| on | tests |\n|---|---|\n")
	for _, r := range results {
		if len(r.Missing) > 0 {
			fmt.Fprintf(b, "| %s %s | `%s` |\n", release(r), r.Arch, strings.Join(r.Missing, "`, `"))
		}
	}
}
