package plan

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// Pages counts the text pages, of a size in bytes, that carry a probe. Each becomes
// a private page of every process that is traced.
func (p *Plan) Pages(size int) int {
	pages := make(map[uint64]struct{})
	for s := range p.sites {
		pages[s.Addr/uint64(size)] = struct{}{}
	}
	return len(pages)
}

// sites yields every site of the plan.
func (p *Plan) sites(yield func(*Site) bool) {
	for i := range p.Functions {
		for _, sites := range [][]Site{p.Functions[i].Entries, p.Functions[i].Exits} {
			for j := range sites {
				if !yield(&sites[j]) {
					return
				}
			}
		}
	}
	for i := range p.Unwinding {
		if !yield(&p.Unwinding[i].Site) {
			return
		}
	}
	for i := range p.GoSites {
		if !yield(&p.GoSites[i].Site) {
			return
		}
	}
}

// LeftOut is how many functions were left out on purpose.
func (p *Plan) LeftOut() int {
	sum := 0
	for _, n := range p.Omitted {
		sum += n
	}
	return sum
}

// WriteTo prints the plan for people: what is traced and where, what is read
// and where from, what is not traced and why.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	p.printHeader(&b)
	for i := range p.Functions {
		b.WriteByte('\n')
		p.Functions[i].print(&b, p.File)
	}
	p.printGoSites(&b)
	p.printWorkers(&b)
	p.printUnwinding(&b)
	p.printSkipped(&b)
	p.printOmitted(&b)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (p *Plan) printHeader(b *strings.Builder) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "  %-12s", name)
		fmt.Fprintf(b, format, args...)
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "plan for %s\n", p.File.Path)
	line("built with", "%s for linux/%s", p.File.GoVersion, p.File.Arch)
	if p.File.BuildID != "" {
		line("build ID", "%s", p.File.BuildID)
	}
	if debug := p.File.DebugFile(); debug != "" {
		line("debug file", "%s", debug)
	}
	line("offsets", "g.goid %d, g.stack.hi %d, g %s (from %s)",
		p.Runtime.Offsets.Goid, p.Runtime.StackHiOffset, architectureOf(p.File).g(p.Runtime), p.Runtime.Source)
	line("functions", "%d traced, %d skipped, %d left out", len(p.Functions), len(p.Skipped), p.LeftOut())
	emulated, stepped := 0, 0
	for s := range p.sites {
		if s.Emulated {
			emulated++
		} else {
			stepped++
		}
	}
	line("sites", "%d emulated, %d single-stepped", emulated, stepped)
	pageSize := os.Getpagesize() // 4 KiB on amd64; on arm64 the kernel was built for one
	pages := p.Pages(pageSize)
	line("memory", "%s, %d KiB of each process", count(pages, "private page"), pages*pageSize/1024)
	if p.Unvalued != "" {
		line("values", "%s: %s", p.None(), p.Unvalued)
	}
	for _, conflict := range p.Conflicts {
		line("conflict", "%s", conflict)
	}
}

// None says whether there are no values at all, where Unvalued says why.
func (p *Plan) None() string {
	if slices.ContainsFunc(p.Functions, func(f Function) bool { return f.Declared }) {
		return "none but those that are declared"
	}
	return "none"
}

// printGoSites prints the `go` statements that are followed.
func (p *Plan) printGoSites(b *strings.Builder) {
	if p.Rootless != "" {
		fmt.Fprintf(b, "\ngoroutines begin traces: %s\n", p.Rootless)
	}
	if len(p.GoSites) == 0 {
		return
	}
	b.WriteString("\ngo statements whose goroutines belong to the call that they are in\n")
	for i := range p.GoSites {
		g := &p.GoSites[i]
		at := fmt.Sprintf("%s+%#x", g.Name, g.Addr-g.Entry)
		fmt.Fprintf(b, "  %-24s %-9s %-16s %s\n", at, architectureOf(p.File).mnemonic(&g.Site), hex.EncodeToString(g.Bytes), g.Why)
	}
}

// printUnwinding prints the sites in the runtime, which belong to no function
// that is traced.
func (p *Plan) printUnwinding(b *strings.Builder) {
	if p.Unwatched != "" {
		fmt.Fprintf(b, "\npanics are seen late, and without their values: %s\n", p.Unwatched)
		return
	}
	b.WriteString("\nwhere panics and runtime.Goexit unwind the stack (hit by nothing else)\n")
	for i := range p.Unwinding {
		r := &p.Unwinding[i]
		notes := ""
		if r.Condition == NotBelowOrEqual {
			notes = ", counts when it is not taken"
		}
		at := fmt.Sprintf("%s+%#x", r.Name, r.Addr-r.Entry)
		fmt.Fprintf(b, "  %-24s %-9s %-16s %s%s\n", at, architectureOf(p.File).mnemonic(&r.Site), hex.EncodeToString(r.Bytes), r.Role, notes)
	}
}

func (f *Function) print(b *strings.Builder, file *gobin.File) {
	arch := architectureOf(file)
	b.WriteString(f.Name)
	if f.File != "" {
		fmt.Fprintf(b, "  %s:%d", f.File, f.Line)
	}
	b.WriteByte('\n')
	for i := range f.Entries {
		f.printSite(b, arch, "entry", &f.Entries[i])
	}
	for i := range f.Exits {
		f.printSite(b, arch, "exit", &f.Exits[i])
	}
	if f.NeverReturns() {
		b.WriteString("  exit   none: it never returns\n")
	}
	if f.Root {
		b.WriteString("  root   each call begins a trace (--root)\n")
	}
	for _, r := range f.workRoots(file) {
		fmt.Fprintf(b, "  roots  +%#-6x %s: %s\n", r.Return, r.what(), r.Why)
	}
	if f.Unvalued != "" {
		fmt.Fprintf(b, "  values none: %s\n", f.Unvalued)
	}
	if f.Error != nil {
		fmt.Fprintf(b, "  error  %s\n", f.Error.read(arch))
	}
	if f.Declared {
		b.WriteString("  values as declared\n")
	}
	printCaptures(b, arch, f.Args.Captures, f.Results.Captures)
}

func (f *Function) printSite(b *strings.Builder, arch *architecture, what string, s *Site) {
	notes := []string{"single-stepped"}
	if s.Emulated {
		notes[0] = "emulated"
	}
	if s.Both {
		notes = append(notes, "entry and exit in one")
	}
	if s.Tail {
		notes = append(notes, "goes on in another function")
	}
	if s.Condition == NotBelowOrEqual {
		notes = append(notes, "counts when it is not taken")
	}
	if s.SPOffset != 0 {
		notes = append(notes, fmt.Sprintf("return address at SP%+d", s.SPOffset))
	}
	if s.ThreadG {
		notes = append(notes, "g from thread-local storage")
	}
	fmt.Fprintf(b, "  %-6s +%#-6x %-9s %-16s %s\n", what, s.Addr-f.Entry, arch.mnemonic(s), hex.EncodeToString(s.Bytes), strings.Join(notes, ", "))
}

// printCaptures prints arguments and results below each other.
func printCaptures(b *strings.Builder, arch *architecture, args, results []Capture) {
	name, typ := 0, 0
	for _, c := range slices.Concat(args, results) {
		name = max(name, len(c.Name))
		typ = max(typ, min(len(c.Type), 32))
	}
	list := func(what string, captures []Capture) {
		for i := range captures {
			c := &captures[i]
			place := arch.read(c)
			switch {
			case c.Status:
				place += ", for the status"
			case c.Expression != "":
				place += ", " + c.Expression
			}
			fmt.Fprintf(b, "  %-6s %-*s  %-*s  %s\n", what, name, c.Name, typ, c.Type, place)
		}
	}
	list("arg", args)
	list("ret", results)
}

// read is where a capture is read, or why it is not.
func (a *architecture) read(c *Capture) string {
	switch {
	case c.Node.Kind == Redacted:
		return "not read: looks like a secret"
	case c.Node.Kind == None:
		return "not read: " + c.Node.Reason
	case c.onStack:
		return fmt.Sprintf("stack%+d", c.stack)
	}
	var names []string
	for _, r := range c.Node.ranges() {
		for at := r.start; at < r.end; at += wordSize {
			names = append(names, a.register(int((c.Offset+at)/wordSize)))
		}
	}
	return strings.Join(names, ", ")
}

// register is the name of an integer argument register.
func (a *architecture) register(n int) string {
	if n < len(a.integers) {
		return a.integers[n]
	}
	return fmt.Sprintf("register %d", n)
}

func (p *Plan) printSkipped(b *strings.Builder) {
	if len(p.Skipped) == 0 {
		return
	}
	byReason := make(map[string][]string)
	for i := range p.Skipped {
		// Where in the code it was is of one function: it does not part reasons.
		reason, at, _ := strings.Cut(p.Skipped[i].Reason, " at +")
		name := p.Skipped[i].Name
		if at != "" {
			name += " (at +" + at + ")"
		}
		byReason[reason] = append(byReason[reason], name)
	}
	b.WriteString("\nskipped\n")
	for _, reason := range byCount(byReason, func(names []string) int { return len(names) }) {
		fmt.Fprintf(b, "  %5d  %s\n", len(byReason[reason]), reason)
		for _, name := range byReason[reason] {
			fmt.Fprintf(b, "         %s\n", name)
		}
	}
}

func (p *Plan) printOmitted(b *strings.Builder) {
	if len(p.Omitted) == 0 {
		return
	}
	b.WriteString("\nleft out\n")
	for _, reason := range byCount(p.Omitted, func(n int) int { return n }) {
		fmt.Fprintf(b, "  %5d  %s\n", p.Omitted[reason], reason)
	}
}

// byCount returns the keys of a map, those with the highest count first.
func byCount[V any](m map[string]V, n func(V) int) []string {
	keys := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(n(m[b]), n(m[a])) })
	return keys
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
