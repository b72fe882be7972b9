package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// In a cgroup with little memory uspan says at its start what it cannot do, and
// is never killed.
func TestLittleMemory(t *testing.T) {
	kerneltest.Require(t)
	shop := shop(t)
	fibonacci := testprog.Build(t, "../../examples/fibonacci", testprog.Options{})
	for _, test := range []struct {
		mebibytes int
		args      []string
		status    int
		says      string
	}{
		{18, []string{"attach", "--for", "1s", shop}, 1, "reading " + shop + " takes some "},
		{35, []string{"attach", "--for", "1s", shop}, 1, "of it for BPF maps, and its cgroup has 3"},
		{64, []string{"attach", "--for", "1s", "--max-open-calls", "262144", shop}, 1, "there is room for --max-open-calls "},
		{64, []string{"run", "-f", "main.compute", "--", fibonacci, "-n", "1"}, 0, " open calls at any moment\n"},
	} {
		status, output := inCgroup(t, test.mebibytes<<20, append([]string{"uspan"}, test.args...))
		if status != test.status || !strings.Contains(output, test.says) {
			t.Errorf("%d MiB, uspan %s: status %d, %s", test.mebibytes, strings.Join(test.args, " "), status, output)
		}
	}
}

// What --dry-run says of uspan's own memory is what it takes, with few functions and
// with many, with arguments and without.
func TestOwnMemory(t *testing.T) {
	uspan := testprog.Command(t, ".")
	exe := testprog.Copy(t, uspan) // large, with DWARF
	kerneltest.Require(t)
	for _, args := range [][]string{
		{"-f", "main.*", "--capture", "none"}, {"-f", "google.golang.org/grpc*"}, {"-f", "*", "--capture", "none"}, {"-f", "*"},
	} {
		plan, err := exec.Command(uspan, append([]string{"attach", "--dry-run", exe}, args...)...).Output()
		said := saysOwn.FindSubmatch(plan)
		if err != nil || said == nil {
			t.Fatalf("%v\n%s", err, plan)
		}
		want, _ := strconv.Atoi(string(said[1]))
		// Its cgroup is not asked: that has the files that uspan reads, too.
		got := residentOf(t, uspan, append([]string{"attach", "-o", "json=" + os.DevNull, exe}, args...))
		t.Logf("%q: %d MiB are resident, --dry-run says %d", args, got, want)
		if got > want*5/4 || got < want*3/5 {
			t.Error("which is not what it says")
		}
	}
}

var saysOwn = regexp.MustCompile(`\n  uspan       some (\d+) MiB`)

// residentOf is the memory in MiB of a uspan that traces.
func residentOf(t *testing.T, uspan string, args []string) int {
	t.Helper()
	cmd := exec.Command(uspan, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(os.Interrupt)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "uspan: tracing ") {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			kibibytes := 0
			_, of, _ := strings.Cut(string(status), "\nVmRSS:")
			if _, err := fmt.Sscan(of, &kibibytes); err != nil {
				t.Fatal(err)
			}
			return kibibytes >> 10
		}
	}
	t.Fatalf("uspan %q does not trace", args)
	return 0
}

// inCgroup runs a command in a cgroup with a limit of memory, in bytes. The test
// is skipped where there can be none.
func inCgroup(t *testing.T, limit int, args []string) (status int, output string) {
	t.Helper()
	for parent, file := range map[string]string{
		"/sys/fs/cgroup":        "memory.max",
		"/sys/fs/cgroup/memory": "memory.limit_in_bytes",
	} {
		dir, err := os.MkdirTemp(parent, "uspan-test-")
		if err != nil {
			continue
		}
		defer os.Remove(dir)
		bound, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0) // which only a cgroup has
		if err != nil {
			continue
		}
		_, err = fmt.Fprint(bound, limit)
		if bound.Close(); err != nil {
			continue
		}
		enter := fmt.Sprintf(`echo $$ >%s/cgroup.procs && exec "$@"`, dir)
		cmd := exec.Command("sh", append([]string{"-c", enter, "sh"}, args...)...)
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	kerneltest.Missing(t, "no memory controller here whose cgroups can be made")
	return 0, ""
}
