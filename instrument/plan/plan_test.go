package plan

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/testprog"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenVersion made the code that the golden plans show the offsets of.
const goldenVersion = "go1.26.8"

// openShop builds and opens testdata/shop.txtar.
func openShop(t *testing.T, options testprog.Options) *gobin.File {
	t.Helper()
	source, err := os.ReadFile("testdata/shop.txtar")
	if err != nil {
		t.Fatal(err)
	}
	f, err := gobin.Open(testprog.Build(t, string(source), options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// golden compares with a file below testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), -update to accept:\n%s", path, diff)
	}
}

// printed is what a plan prints.
func printed(t *testing.T, p *Plan) string {
	t.Helper()
	var b strings.Builder
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrintedPlans(t *testing.T) {
	f := openShop(t, testprog.Options{GoVersion: goldenVersion, GOARCH: "amd64", Flags: []string{"-trimpath"}})
	f.Path, f.BuildID = "./shop", "0123456789abcdef"
	for _, test := range []struct {
		file  string
		rules Rules
	}{
		{"default.plan", Rules{Values: true}},
		{"patterns.plan", Rules{Patterns: []string{"example.com/shop/*", "main.*Add*", "main.main*", "main.nothing", "!*.Push"}}},
		{"runtime.plan", Rules{Patterns: []string{`/^runtime\.(mcall|gopark|gopanic|goexit.|memmove|sig.*)$/`, `/^syscall\.([Rr]aw|read)/`}}},
	} {
		t.Run(test.file, func(t *testing.T) {
			p, err := Build(f, test.rules)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if n, err := p.WriteTo(&b); err != nil || n != int64(b.Len()) {
				t.Fatalf("WriteTo = %d, %v; wrote %d", n, err, b.Len())
			}
			golden(t, test.file, b.String())
		})
	}
}

// The same functions of an arm64 executable, read on whatever machine this is.
func TestPrintedPlanARM64(t *testing.T) {
	f := openShop(t, testprog.Options{GoVersion: goldenVersion, GOARCH: "arm64", Flags: []string{"-trimpath"}})
	f.Path, f.BuildID = "./shop", "0123456789abcdef"
	p, err := Build(f, Rules{Patterns: []string{"main.*", "example.com/shop/*"}, Values: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "arm64.plan", printed(t, p))
}

func TestPatternErrors(t *testing.T) {
	f := openShop(t, testprog.Options{GoVersion: goldenVersion, GOARCH: "amd64", Flags: []string{"-trimpath"}})
	var b strings.Builder
	for _, patterns := range [][]string{
		{""},
		{"!"},
		{"/main"},
		{"/ma(in/"},
		{"main.chekout"},
		{"main.Checkout"},
		{"checkout"},
		{"checkout*"},
		{"cart.Cart.Add"},
		{"shop/cart.(*Cart).Add"},
		{"example.com/shop/cart.(*Cart).Remove"},
		{"main.zzzzzzzzzzzz"},
		{"main.chekot*"},
		{"*.chekout*"},
		{"main.zz*"},
		{"main.*", "!main.debug*"},
		{"main.sum", "!main.*"},
		{"!*"},
		{"runtime.mcall"},
		{"runtime.morestack*"},
		{"/main\\.main\\.go.*1/"},
		{"main.checkout", "syscall.RawSyscall"},
		{"man.*"},
		{"fmt.(*fmt).fmtBx"},
		{"fmt.(*buffer).write*", "main.main"},
		{"main.*", "!errors.New"},
		{"fmtt.*"},
		{"shop/*"},
		{"crypto/internal/fips140/*"},
	} {
		b.WriteString("$ uspan")
		for _, p := range patterns {
			b.WriteString(" -f '" + p + "'")
		}
		b.WriteByte('\n')
		if _, err := Build(f, Rules{Patterns: patterns}); err != nil {
			b.WriteString(err.Error() + "\n\n")
		} else {
			b.WriteString("no error\n\n")
		}
	}
	golden(t, "errors.txt", b.String())

	_, err := Build(f, Rules{Patterns: []string{"main.chekout"}})
	var e *PatternError
	if !errors.As(err, &e) || e.Pattern != "main.chekout" || !slices.Contains(e.Near, "main.checkout") {
		t.Errorf("Build: %#v", err)
	}
}

// Every way to build a program leads to the same functions, entries behind the
// stack check, and captures that fill the argument area.
func TestBuildsAndVersions(t *testing.T) {
	want := []string{
		"main.apply", "main.asmAdd", "main.audit", "main.blank", "main.checkout", "main.checkout.func1", "main.login",
		"main.many", "main.newToken", "main.tokens", "main.weigh",
	}
	for _, options := range append(testprog.Matrix(), testprog.MatrixARM64()...) {
		t.Run(options.String(), func(t *testing.T) {
			f := openShop(t, options)
			p, err := Build(f, Rules{Patterns: []string{"main.*", "!main.init*", "!main.main*", "!main.nothing", "!main.sum"}, Values: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range p.Functions {
				fn := &p.Functions[i]
				if fn.Name != "main.glob..func1" { // the name of main.init.func1 up to Go 1.21
					got = append(got, fn.Name)
				}
				checkFunction(t, f, fn)
				if !fn.Assembly && !fn.Values && p.Unvalued == "" && (fn.Name != "main.blank" || f.GoVersion >= "go1.22") {
					t.Errorf("%s: no values: %s", fn.Name, fn.Unvalued)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("functions (-want +got):\n%s", diff)
			}
			if len(p.Skipped) > 0 {
				t.Errorf("skipped: %v", p.Skipped)
			}
		})
	}
}

// checkFunction holds one planned function against its code.
func checkFunction(t *testing.T, f *gobin.File, fn *Function) {
	t.Helper()
	body, err := f.Body(&fn.Function)
	if err != nil || body.Undecoded != 0 {
		t.Fatalf("%s: body: %v", fn.Symbol, err)
	}
	at := make(map[uint64]*gobin.Instruction)
	for i := range body.Instructions {
		at[body.Instructions[i].Addr] = &body.Instructions[i]
	}
	seen := make(map[uint64]bool)
	for _, s := range slices.Concat(fn.Entries, fn.Exits) {
		in := at[s.Addr]
		code := make([]byte, len(s.Bytes))
		switch {
		case in == nil:
			t.Errorf("%s: %#x is in the middle of an instruction", fn.Symbol, s.Addr)
			continue
		case !bytes.Equal(in.Bytes, s.Bytes) || in.Kind != s.Kind || in.Emulated != s.Emulated || in.Refused != "":
			t.Errorf("%s: site %+v is not its instruction %+v", fn.Symbol, s, in)
		case seen[s.Addr]:
			t.Errorf("%s: two sites at %#x", fn.Symbol, s.Addr)
		}
		seen[s.Addr] = true
		if offset, ok := f.Offset(s.Addr); !ok || offset != s.Offset {
			t.Errorf("%s: %#x is at %#x of the file, not %#x", fn.Symbol, s.Addr, offset, s.Offset)
		}
		if err := f.ReadAddr(code, s.Addr); err != nil || !bytes.Equal(code, s.Bytes) {
			t.Errorf("%s: %#x: %v, %x", fn.Symbol, s.Addr, err, code)
		}
		if delta, ok := f.StackDelta(&fn.Function, s.Addr); !ok || delta != 0 {
			t.Errorf("%s: SP is %d below the return address at %#x", fn.Symbol, delta, s.Addr)
		}
	}
	if len(fn.Entries) != 1 {
		t.Fatalf("%s: %d entries", fn.Symbol, len(fn.Entries))
	}
	entry := &fn.Entries[0]
	leaves := func(in gobin.Instruction) bool {
		return in.Kind == gobin.Return || in.Kind == gobin.JumpRegister || in.Kind == gobin.JumpMemory
	}
	if fn.NeverReturns() && (fn.Assembly || ofRuntime(&fn.Function) || slices.ContainsFunc(body.Instructions, leaves)) {
		t.Errorf("%s: no exit", fn.Symbol)
	}
	first := body.Instructions[0].Bytes
	if entry.Addr == fn.Entry && (isCompareGuard(first) || word(first) == guard0) {
		t.Errorf("%s: the entry is in front of the stack check", fn.Symbol)
	}
	old := entry.Kind == gobin.CondJump && entry.Condition == NotBelowOrEqual && (f.GoVersion < "go1.21" || f.Arch == gobin.ARM64)
	sequence := body.Sequence > 1 && entry.Addr == body.Instructions[body.Sequence-1].Addr
	for i := range max(body.Sequence-1, 0) {
		if w := word(body.Instructions[i].Bytes); sequence && w&31 != temporaryR27 {
			t.Errorf("%s: %08x in front of the entry may write an argument", fn.Symbol, w)
		}
	}
	if entry.Addr != fn.Entry && entry.Kind != gobin.PushFrame && !old && !sequence {
		t.Errorf("%s: the entry is at +%#x and no PUSHQ BP", fn.Symbol, entry.Addr-fn.Entry)
	}
	for i := range body.Instructions {
		in := &body.Instructions[i]
		if in.Kind != gobin.Return || entry.Both || seen[in.Addr] {
			continue
		}
		if i == 0 || !seen[body.Instructions[i-1].Addr] || body.Instructions[i-1].Kind != gobin.Nop {
			t.Errorf("%s: the RET at +%#x is not seen", fn.Symbol, in.Addr-fn.Entry)
		}
	}
}

// Everything in a real program can be asked for.
func TestEverything(t *testing.T) {
	t.Run("go", func(t *testing.T) {
		f, err := gobin.Open(filepath.Join(gorootOf(t), "bin", "go"))
		if err != nil {
			t.Fatal(err)
		}
		testEverything(t, f)
	})
	t.Run("arm64", func(t *testing.T) {
		f, err := gobin.Open(testprog.Build(t, "../../cmd/uspan", testprog.Options{GOARCH: "arm64"}))
		if err != nil {
			t.Fatal(err)
		}
		testEverything(t, f)
	})
}

func testEverything(t *testing.T, f *gobin.File) {
	defer f.Close()
	p, err := Build(f, Rules{Patterns: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	p.printHeader(&b)
	t.Log(b.String())
	for i := range p.Functions {
		fn := &p.Functions[i]
		checkFunction(t, f, fn)
		if fn.FIPS || fn.SPWrite || refuseName(&fn.Function) != "" {
			t.Errorf("%s is traced", fn.Symbol)
		}
	}
	reasons := make(map[string]int)
	for i := range p.Skipped {
		reason, _, _ := strings.Cut(p.Skipped[i].Reason, " at +")
		reasons[reason]++
	}
	for _, reason := range byCount(reasons, func(n int) int { return n }) {
		t.Logf("%5d skipped: %s", reasons[reason], reason)
	}
	if len(p.Functions) < 5000 || len(p.Skipped) > len(p.Functions)/4 {
		t.Errorf("%d functions are traced, %d skipped", len(p.Functions), len(p.Skipped))
	}
	for _, must := range []string{
		"runtime.mcall", "runtime.gogo", "runtime.morestack", "runtime.systemstack", "runtime.asmcgocall", "runtime.rt0_go",
		"runtime.sigtramp", "runtime.sigtrampgo", "runtime.sigreturn__sigaction", "runtime.mstart0", "runtime.clone", "runtime.goexit",
		"runtime.duffcopy", "runtime.schedule", "syscall.forkAndExecInChild1", "syscall.rawVforkSyscall",
		"syscall.RawSyscall6", "syscall.rawSyscallNoError", "syscall.runtime_AfterForkInChild", "runtime.clearSignalHandlers",
		"runtime.entersyscall", "runtime.memmove", "runtime.nanotime1", "runtime.needm", "runtime.gcWriteBarrier",
	} {
		if slices.ContainsFunc(p.Functions, func(fn Function) bool { return fn.Symbol == must }) {
			t.Errorf("%s is traced", must)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	f, err := gobin.Open(filepath.Join(gorootOf(b), "bin", "go"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		p, err := Build(f, Rules{Patterns: []string{"*"}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(p.Functions)), "functions")
	}
}

func gorootOf(tb testing.TB) string {
	tb.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
