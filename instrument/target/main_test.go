package target

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspan/uspan/internal/leaktest"
)

// roleVariable makes the test binary play another part: that of a program which
// a test starts.
const roleVariable = "USPAN_TARGET_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(leaktest.Run(m))
	case "starter":
		playStarter()
	case "shell":
		playShell()
	case "relay":
		playRelay()
	case "listener":
		playListener()
	case "told":
		playTold()
	default:
		panic("unknown role " + role)
	}
}

// as is the environment of the test binary in another part. The variable is in it
// once: of two, os/exec keeps the last and Go reads the first, and a part that
// starts itself over and over takes the machine down.
func as(role string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, roleVariable+"=") })
	return append(env, roleVariable+"="+role)
}

// programSource is a program that says so when it runs, and ends with its input.
const programSource = `package main

import (
	"io"
	"os"
)

func main() {
	os.Stdout.WriteString("main\n")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}
`

// buildProgram builds it, as a static executable.
func buildProgram(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(programSource), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	build := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), source)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return path
}

// pipe returns the ends of a pipe that are closed with the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// running starts a command outside of the package's care, waits for its first
// line of output, and ends it with the test.
func running(t *testing.T, command *exec.Cmd) (pid int, line string) {
	t.Helper()
	if _, err := command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	return command.Process.Pid, readLine(t, bufio.NewReader(out))
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// within fails the test where a channel is not closed in good time.
func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: not within 30 s", what)
	}
}
