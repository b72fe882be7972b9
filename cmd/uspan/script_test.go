package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/otlptest"
	"github.com/uspan/uspan/internal/realserver"
	"github.com/uspan/uspan/internal/testprog"
)

// TestScript runs testdata/script. Beside testscript's own commands there are
//
//	kernel                     goes on only where programs can be traced
//	exits STATUS COMMAND...    runs a command that has to end with the status
//	start NAME TEXT COMMAND... runs one in the background, NAME being its process
//	                           id, and waits until it writes the text
//	send NAME SIGNAL TEXT      sends it a signal, and waits until it writes the text
//	end NAME SIGNAL STATUS     sends it a signal, and it has to end with the status
//	thread NAME PID            NAME is the id of a thread that is no process
//	spans FILE                 prints what -o json has written: a line a span, its
//	                           name, service, process id and arguments
//	stacks FILE                prints, for each such span, the functions of its stack,
//	                           down to where the kernel called a signal's handler
//	timeless FILE              prints a file (stdout and stderr are those of the last
//	                           command) without what differs from run to run: T for
//	                           times, PID for the process id, and a row in place of
//	                           all rows of a histogram, with the sum of their calls
//	received                   prints in the same way what $OTLP has got, and
//	received http              what $OTLP_HTTP has
func TestScript(t *testing.T) {
	forAll(t)
	empty := "-- go.mod --\nmodule m\ngo 1.21\n-- main.go --\npackage main\nfunc main() {}\n"
	foreign := "arm64"
	if runtime.GOARCH == foreign {
		foreign = "amd64"
	}
	executables := map[string]string{
		"SHOP":      shop(t),
		"SHOPAMD64": shopFor(t, "amd64"),
		"CHARGE":    charge(t),
		"FIBONACCI": testprog.Build(t, "../../examples/fibonacci", testprog.Options{}),
		"FIBAMD64":  testprog.Build(t, "../../examples/fibonacci", testprog.Options{GOARCH: "amd64", Flags: []string{"-trimpath"}}),
		"KIN":       testprog.Build(t, kin, testprog.Options{}),
		"GO386":     testprog.Build(t, empty, testprog.Options{GOARCH: "386"}),
		"FOREIGN":   testprog.Build(t, empty, testprog.Options{GOARCH: foreign}),
	}
	// A uspan that is started to ignore SIGHUP (nohup make test) does not end by it.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangup) })
	readme := configOfReadme(t)
	id := buildID(t, executables["SHOPAMD64"])
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Deadline:           time.Now().Add(15 * time.Minute),
		Setup: func(env *testscript.Env) error {
			for name, path := range executables {
				env.Setenv(name, path)
			}
			env.Setenv("BUILD_ID", id)
			env.Setenv("README", filepath.Join(env.WorkDir, "readme.yaml"))
			if err := os.WriteFile(env.Getenv("README"), []byte(readme), 0o644); err != nil {
				return err
			}
			env.Setenv("ARCH", runtime.GOARCH)
			env.Setenv("FOREIGN_ARCH", foreign)
			test := env.T().(testing.TB)
			env.Values[testKey{}] = test
			receiver := otlptest.Start(test)
			env.Values[receiverKey{}] = receiver
			env.Setenv("OTLP", receiver.Endpoint())
			web := otlptest.Config{HTTP: true}.Start(test)
			env.Values[webReceiverKey{}] = web
			env.Setenv("OTLP_HTTP", web.Base())
			env.Values[processesKey{}] = make(map[string]*process)
			return os.Chmod(filepath.Dir(env.WorkDir), 0o755)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"kernel": func(ts *testscript.TestScript, _ bool, _ []string) {
				kerneltest.Require(ts.Value(testKey{}).(testing.TB))
			},
			"exits":    exits,
			"start":    start,
			"send":     send,
			"await":    await,
			"end":      end,
			"thread":   thread,
			"spans":    spans,
			"stacks":   stacksOf,
			"timeless": timeless,
			"received": received,
		},
	})
}

// kin visits, and starts itself, as often as its argument says, the last time in its
// own place.
const kin = `
-- go.mod --
module example.com/kin
go 1.21
-- main.go --
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

//go:noinline
func visit(n int) { fmt.Println("visit", n) }

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	visit(n)
	next := []string{os.Args[0], strconv.Itoa(n - 1)}
	switch n {
	case 0:
	case 1:
		syscall.Exec(next[0], next, os.Environ())
	default:
		exec.Command("/bin/true").Run()
		again := exec.Command(next[0], next[1])
		again.Stdout = os.Stdout
		again.Run()
	}
}
`

// Keys of what the commands of a script share.
type (
	testKey        struct{}
	receiverKey    struct{}
	webReceiverKey struct{}
	processesKey   struct{}
)

func buildID(t *testing.T, path string) string {
	t.Helper()
	f, err := gobin.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.BuildID
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	check(ts, err, args[0])
}

// check compares how a command ended with a status.
func check(ts *testscript.TestScript, err error, status string) {
	got := "0"
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = strconv.Itoa(exit.ExitCode())
		if !exit.Exited() {
			got = exit.String()
		}
	} else {
		ts.Check(err)
	}
	if got != status {
		ts.Fatalf("exit status %s, want %s", got, status)
	}
}

func start(ts *testscript.TestScript, _ bool, args []string) {
	name, text := args[0], regexp.MustCompile(args[1])
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, v := range []string{"PATH", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"} {
		if value := ts.Getenv(v); value != "" {
			cmd.Env = append(cmd.Env, v+"="+value)
		}
	}
	p, err := begin(cmd)
	ts.Check(err)
	ts.Defer(p.close)
	p.await(ts, text)
	ts.Value(processesKey{}).(map[string]*process)[name] = p
	ts.Setenv(name, strconv.Itoa(cmd.Process.Pid))
}

func send(ts *testscript.TestScript, _ bool, args []string) {
	p := signalled(ts, args[0], args[1])
	if len(args) > 2 {
		p.await(ts, regexp.MustCompile(args[2]))
	}
}

// await waits until a file has a text in it.
func await(ts *testscript.TestScript, _ bool, args []string) {
	text := regexp.MustCompile(args[1])
	for range 1000 {
		if data, _ := os.ReadFile(ts.MkAbs(args[0])); text.Match(data) { // it may not be there yet
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("nobody writes %q into %s", text, args[0])
}

func end(ts *testscript.TestScript, _ bool, args []string) {
	p := signalled(ts, args[0], args[1])
	err := p.wait()
	io.WriteString(ts.Stdout(), p.stdout.String())
	io.WriteString(ts.Stderr(), p.stderr.String())
	check(ts, err, args[2])
}

// signalled sends a signal to a process of the background.
func signalled(ts *testscript.TestScript, name, signal string) *process {
	p := ts.Value(processesKey{}).(map[string]*process)[name]
	ts.Check(p.cmd.Process.Signal(unix.SignalNum(signal)))
	return p
}

func thread(ts *testscript.TestScript, _ bool, args []string) {
	tasks, err := os.ReadDir("/proc/" + args[1] + "/task")
	ts.Check(err)
	for _, task := range tasks {
		if task.Name() != args[1] {
			ts.Setenv(args[0], task.Name())
			return
		}
	}
	ts.Fatalf("process %s has one thread", args[1])
}

func spans(ts *testscript.TestScript, _ bool, args []string) {
	eachSpan(ts, args[0], func(span ptrace.Span, resource map[string]any) {
		printSpan(ts.Stdout(), span.Name(), resource, span.Attributes().AsRaw())
	})
}

// eachSpan yields the spans that -o json has written to a file, with their resources.
func eachSpan(ts *testscript.TestScript, file string, yield func(span ptrace.Span, resource map[string]any)) {
	for line := range strings.Lines(ts.ReadFile(file)) {
		traces, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces([]byte(line))
		ts.Check(err)
		for _, resource := range traces.ResourceSpans().All() {
			from := resource.Resource().Attributes().AsRaw()
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					yield(span, from)
				}
			}
		}
	}
}

func stacksOf(ts *testscript.TestScript, _ bool, args []string) {
	eachSpan(ts, args[0], func(span ptrace.Span, _ map[string]any) {
		if sig, of := span.Attributes().Get("uspan.arg.sig"); of {
			fmt.Fprintf(ts.Stdout(), "sig=%d ", sig.Int())
		}
		stack, _ := span.Attributes().Get("code.stacktrace")
		var functions []string
		for _, line := range framesLine.FindAllStringSubmatch(stack.AsString(), -1) {
			if n := len(functions); n > 0 && functions[n-1] == "runtime.sigtramp" {
				functions = append(functions, "what it interrupted")
				break
			}
			functions = append(functions, line[1])
		}
		fmt.Fprint(ts.Stdout(), strings.Join(functions, " ← "))
		fmt.Fprintln(ts.Stdout())
	})
}

var (
	// framesLine is one of a stack trace with a function.
	framesLine = regexp.MustCompile(`(?m)^([^\t\n]+)\(\.\.\.\)$`)
	times      = regexp.MustCompile(` *[0-9.]+(?:ns|µs|ms|s)\b`)
	pids       = regexp.MustCompile(`(pid )[0-9]+`)
	bars       = regexp.MustCompile(`^ T … T +([0-9,]+)|^ +⋮$`)
)

func timeless(ts *testscript.TestScript, _ bool, args []string) {
	rows := 0
	end := func() {
		if rows > 0 {
			fmt.Fprintf(ts.Stdout(), "  T … T  %d\n", rows)
		}
		rows = 0
	}
	text := times.ReplaceAllString(ts.ReadFile(args[0]), " T")
	for line := range strings.Lines(pids.ReplaceAllString(text, "${1}PID")) {
		if row := bars.FindStringSubmatch(strings.TrimSuffix(line, "\n")); row != nil {
			if row[1] != "" {
				n, err := strconv.Atoi(strings.ReplaceAll(row[1], ",", ""))
				ts.Check(err)
				rows += n
			}
			continue
		}
		end()
		fmt.Fprint(ts.Stdout(), line)
	}
	end()
}

func received(ts *testscript.TestScript, _ bool, args []string) {
	var key any = receiverKey{}
	if len(args) > 0 {
		key = webReceiverKey{}
	}
	for _, span := range ts.Value(key).(*otlptest.Receiver).Spans() {
		printSpan(ts.Stdout(), span.Name, span.Resource, span.Attributes)
	}
}

func printSpan(w io.Writer, name string, resource, attributes map[string]any) {
	fmt.Fprintf(w, "%s %v[%v]", name, resource["service.name"], resource["process.pid"])
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if arg, ok := strings.CutPrefix(key, "uspan.arg."); ok {
			fmt.Fprintf(w, " %s=%v", arg, attributes[key])
		}
	}
	fmt.Fprintln(w)
}

// A process runs in the background of a test. Its input ends with the test, and
// with that whatever it has started.
type process struct {
	cmd            *exec.Cmd
	stdin          io.Closer
	stdout, stderr realserver.Buffer
	wait           func() error
}

func begin(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.WaitDelay = 2 * time.Second // for those who hold its output open
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.wait = sync.OnceValue(cmd.Wait)
	return p, cmd.Start()
}

func (p *process) close() {
	p.stdin.Close()
	p.cmd.Process.Kill()
	p.wait()
}

// await waits until the process has written a text.
func (p *process) await(ts *testscript.TestScript, text *regexp.Regexp) {
	for range 1000 {
		if text.MatchString(p.all()) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s does not write %q, but:\n%s", p.cmd, text, p.all())
}

func (p *process) all() string { return p.stdout.String() + p.stderr.String() }
