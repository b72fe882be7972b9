package target

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/internal/kerneltest"
)

func TestStartStopsBeforeTheFirstInstruction(t *testing.T) {
	for _, mode := range []string{"exe", "pie"} {
		t.Run(mode, func(t *testing.T) {
			program := buildProgram(t, "-buildmode="+mode)
			in, feed := pipe(t)
			out, sink := pipe(t)
			p, err := Start(Command{Path: program, Stdin: in, Stdout: sink})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			sink.Close()
			in.Close()

			if state := stateOf(t, p.PID()); state != 't' {
				t.Errorf("state is %c, want t: stopped by its tracer", state)
			}
			// The program counter is that of the entry point: nothing has run.
			file, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			bias, err := p.LoadBias()
			if err != nil {
				t.Fatal(err)
			}
			if (bias != 0) != (mode == "pie") {
				t.Errorf("load bias is %#x", bias)
			}
			if mode == "exe" || !dynamic(p.PID()) {
				entry := bias + binary.LittleEndian.Uint64(file[elfEntry:])
				if pc := programCounter(t, p.PID()); pc != entry {
					t.Errorf("program counter is %#x, the entry point %#x", pc, entry)
				}
			}
			for _, name := range mappings(t, p.PID()) {
				if name != program && name[0] != '[' && !strings.Contains(name, "/ld-") {
					t.Errorf("%s is mapped already", name)
				}
			}
			if got, _ := StatInode(program); got != p.Inode() {
				t.Errorf("inode is %v, want %v", p.Inode(), got)
			}
			if p.ExePath() != program || p.ExeDeleted() {
				t.Errorf("executable is %q, deleted %v", p.ExePath(), p.ExeDeleted())
			}

			if err := p.Resume(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			if line := readLine(t, lines); line != "main" {
				t.Errorf("the program wrote %q", line)
			}
			if tracer := statusField(t, p.PID(), "TracerPid"); tracer != "0" {
				t.Errorf("process %s still traces it", tracer)
			}
			if blocked, own := statusField(t, p.PID(), "SigBlk"), statusField(t, os.Getpid(), "SigBlk"); blocked != own {
				t.Errorf("blocked signals are %s, want %s", blocked, own)
			}
			if err := p.Resume(); err != nil {
				t.Errorf("Resume again: %v", err)
			}
			feed.Close()
			within(t, "end", p.Done())
			status, err := p.Wait()
			if err != nil || status != (Status{Code: 3}) || status.ExitCode() != 3 {
				t.Errorf("Wait is %v, %v", status, err)
			}
			if again, err := p.Wait(); again != status || err != nil {
				t.Errorf("Wait again is %v, %v", again, err)
			}
		})
	}
}

// dynamic says whether a loader is mapped, which runs first.
func dynamic(pid int) bool {
	text, _ := os.ReadFile(procPath(pid, "maps"))
	return strings.Contains(string(text), "/ld-")
}

func stateOf(t *testing.T, pid int) byte {
	t.Helper()
	s, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return s.state
}

func statusField(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in the status of process %d", name, pid)
	return ""
}

// programCounter is the last number of /proc/PID/syscall.
func programCounter(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile(procPath(pid, "syscall"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	pc, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func mappings(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(procPath(pid, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 5 {
			names = append(names, fields[5])
		}
	}
	return names
}

// TestLoadBiasAgreesWithMaps compares with the other source of the same fact.
func TestLoadBiasAgreesWithMaps(t *testing.T) {
	program := buildProgram(t, "-buildmode=pie")
	pid, _ := running(t, exec.Command(program))
	p, err := Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	bias, err := p.LoadBias()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(procPath(pid, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_LOAD && p.Off == 0 })
	linked := f.Progs[first].Vaddr // of file offset zero
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != program || strings.Trim(fields[2], "0") != "" {
			continue
		}
		mapped, _, _ := strings.Cut(fields[0], "-")
		start, err := strconv.ParseUint(mapped, 16, 64)
		if err != nil || bias != start-linked {
			t.Errorf("load bias is %#x; maps: %#x - %#x, %v", bias, start, linked, err)
		}
		return
	}
	t.Errorf("the start of %s is not mapped", program)
}

func TestStatus(t *testing.T) {
	tests := []struct {
		script string
		want   Status
		code   int
		text   string
	}{
		{"exit 0", Status{}, 0, "exit status 0"},
		{"exit 255", Status{Code: 255}, 255, "exit status 255"},
		{"kill -KILL $$", Status{Signal: unix.SIGKILL}, 137, "killed by SIGKILL"},
		{"kill -TERM $$", Status{Signal: unix.SIGTERM}, 143, "killed by SIGTERM"},
	}
	for _, test := range tests {
		p, err := Start(Command{Path: "sh", Args: []string{"-c", test.script}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		status, err := p.Wait()
		if err != nil || status != test.want || status.ExitCode() != test.code || status.String() != test.text {
			t.Errorf("%s: %v (%d), %v; want %v", test.script, status, status.ExitCode(), err, test.text)
		}
	}
	if got := (Status{Signal: unix.SIGSEGV, CoreDumped: true}).String(); got != "killed by SIGSEGV (core dumped)" {
		t.Errorf("String is %q", got)
	}
	if got := (Status{Signal: 40}).String(); got != "killed by signal 40" {
		t.Errorf("String is %q", got)
	}
}

func TestStartPassesArgumentsAndEnvironment(t *testing.T) {
	out, sink := pipe(t)
	p, err := Start(Command{
		Path:   "sh",
		Args:   []string{"-c", `echo "$0 $1 $GREETING"`, "name", "first"},
		Env:    []string{"GREETING=hello"},
		Stdout: sink,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sink.Close()
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil || string(text) != "name first hello\n" {
		t.Errorf("the command wrote %q, %v", text, err)
	}
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSignalWhileStopped sends a signal that would end the command: it takes
// effect when it runs.
func TestSignalWhileStopped(t *testing.T) {
	p, err := Start(Command{Path: "sleep", Args: []string{"1000"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if state := stateOf(t, p.PID()); state != 't' {
		t.Errorf("state is %c behind the signal", state)
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(); status.Signal != unix.SIGTERM || err != nil {
		t.Errorf("Wait is %v, %v", status, err)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, ErrNoProcess) {
		t.Errorf("a signal behind the end: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("Kill behind the end: %v", err)
	}
}

func TestKillWhileStopped(t *testing.T) {
	p, err := Start(Command{Path: "sleep", Args: []string{"1000"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, "end", p.Done())
	if err := p.Resume(); !errors.Is(err, ErrNoProcess) {
		t.Errorf("Resume of a killed command: %v", err)
	}
	if status, err := p.Wait(); status.Signal != unix.SIGKILL || err != nil {
		t.Errorf("Wait is %v, %v", status, err)
	}
}

func TestCloseKillsWhatNeverRan(t *testing.T) {
	p, err := Start(Command{Path: "sleep", Args: []string{"1000"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := unix.Kill(p.PID(), 0); err != unix.ESRCH {
		t.Errorf("the command is still there: %v", err)
	}
}

// TestStarterKilled kills the starter with SIGKILL: a command that never ran goes
// with it, one that runs does not.
func TestStarterKilled(t *testing.T) {
	for _, resume := range []bool{false, true} {
		starter := exec.Command("/proc/self/exe")
		starter.Env = append(as("starter"), fmt.Sprintf("RESUME=%v", resume))
		_, line := running(t, starter)
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Open(pid)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := starter.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		starter.Process.Wait()
		if !resume {
			within(t, "end of the command that never ran", p.Done())
			continue
		}
		if !p.Alive() || stateOf(t, pid) != 'S' {
			t.Error("the command that ran is gone, or stopped")
		}
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		within(t, "end", p.Done())
	}
}

// playStarter starts a command and says its process id.
func playStarter() {
	p, err := Start(Command{Path: "sleep", Args: []string{"1000"}, Env: os.Environ()[:0], Stdout: os.Stderr})
	if err != nil {
		panic(err)
	}
	if os.Getenv("RESUME") == "true" {
		if err := p.Resume(); err != nil {
			panic(err)
		}
		for s := byte(0); s != 'S'; {
			st, err := readStat(p.PID())
			if err != nil {
				panic(err)
			}
			s = st.state
		}
	}
	fmt.Println(p.PID())
	select {}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("plain", "hello", 0o644)
	t.Setenv("PATH", os.Getenv("PATH")+":"+dir)
	tests := []struct {
		path string
		kind error
		want string
	}{
		{"no-such-command", ErrNotFound, "start no-such-command: not found in $PATH"},
		{dir + "/nothing", ErrNotFound, "start " + dir + "/nothing: not found"},
		{plain + "/below", ErrNotExecutable, "cannot be executed: not a directory"},
		{dir, ErrNotExecutable, "cannot be executed: is a directory"},
		{plain, ErrNotExecutable, "cannot be executed: permission denied"},
		{"plain", ErrNotExecutable, "cannot be executed: " + plain + ": permission denied"},
		{file("script", "#! /bin/sh -e\nexit 0\n", 0o755), ErrNotExecutable, "it is a script for /bin/sh, and uspan traces Go executables: run the executable"},
		{file("bare", "#!\n", 0o755), ErrNotExecutable, "it is a script for an unnamed interpreter"},
		{file("text", "hello\n", 0o755), ErrNotExecutable, "exec format error: it is no executable of this machine"},
		{file("empty", "", 0o755), ErrNotExecutable, "exec format error"},
		{file("loader", elfWithLoader("/no/such/ld.so"), 0o755), ErrNotExecutable, "the dynamic loader that it asks for, /no/such/ld.so, does not exist"},
	}
	for _, test := range tests {
		p, err := Start(Command{Path: test.path})
		if err == nil {
			p.Close()
			t.Errorf("Start(%s): no error", test.path)
			continue
		}
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Start(%s): %v; want %q", test.path, err, test.want)
		}
	}

	t.Chdir(dir)
	t.Setenv("PATH", ".")
	file("here", "", 0o755)
	if _, err := Start(Command{Path: "here"}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "write ./here") {
		t.Errorf("a command of the current directory: %v", err)
	}
}

// elfWithLoader is the least that the kernel takes for a dynamically linked
// executable.
func elfWithLoader(loader string) string {
	le := binary.LittleEndian
	b := make([]byte, 64+2*56)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2) // ET_EXEC
	machine, _ := os.ReadFile("/proc/self/exe")
	copy(b[18:20], machine[18:20])
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], 0x400000)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 2)
	segment := func(i int, kind uint32, offset, size uint64) {
		h := b[64+i*56:]
		le.PutUint32(h, kind)
		le.PutUint32(h[4:], 5)
		le.PutUint64(h[8:], offset)
		le.PutUint64(h[16:], 0x400000+offset)
		le.PutUint64(h[32:], size)
		le.PutUint64(h[40:], size)
		le.PutUint64(h[48:], 0x1000)
	}
	segment(0, 3, uint64(len(b)), uint64(len(loader)+1))
	segment(1, 1, 0, uint64(len(b)+len(loader)+1))
	return string(b) + loader + "\x00"
}

func TestStartAsUser(t *testing.T) {
	kerneltest.RequireRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ user, uid, gid, groups string }{
		{"nobody", nobody.Uid, nobody.Gid, nobody.Gid},
		{nobody.Uid, nobody.Uid, nobody.Gid, nobody.Gid},
		{"4711:4712", "4711", "4712", ""},
	}
	for _, test := range tests {
		p, err := Start(Command{Path: "cat", User: test.user})
		if err != nil {
			t.Errorf("as %s: %v", test.user, err)
			continue
		}
		for field, want := range map[string]string{"Uid": test.uid, "Gid": test.gid} {
			got := strings.Fields(statusField(t, p.PID(), field))
			if slices.ContainsFunc(got, func(id string) bool { return id != want }) {
				t.Errorf("as %s: %s is %v", test.user, field, got)
			}
		}
		if got := statusField(t, p.PID(), "Groups"); got != test.groups {
			t.Errorf("as %s: groups are %q, want %q", test.user, got, test.groups)
		}
		p.Close()
	}
	for name, want := range map[string]string{
		"no-such-user": "user no-such-user: there is no such account",
		"4711":         "user 4711: no account has that id: give the group, too, as 4711:GID",
		"4711:staff":   `user 4711:staff: "staff" is no user or group id`,
		"4294967295:0": `"4294967295" is no user or group id`,
	} {
		_, err := Start(Command{Path: "cat", User: name})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("as %s: %v; want %q", name, err, want)
		}
	}
	private := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(private, []byte("hello"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Command{Path: private, User: "nobody"}); !errors.Is(err, ErrNotExecutable) || !strings.Contains(err.Error(), "for user nobody") {
		t.Errorf("a file of root's, as nobody: %v", err)
	}
}

// TestStartUnprivileged runs as a user who may not do what is asked for.
func TestStartUnprivileged(t *testing.T) {
	kerneltest.RequireRoot(t)
	// The executable of the test lies where only root can reach it.
	self := filepath.Join(t.TempDir(), "target.test")
	copyFile(t, "/proc/self/exe", self, 0o755)
	for dir := filepath.Dir(self); dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&1 == 0 {
			if err := os.Chmod(dir, info.Mode()|1); err != nil {
				t.Fatal(err)
			}
		}
	}
	setuid := filepath.Join(filepath.Dir(self), "setuid")
	copyFile(t, "/bin/true", setuid, 0o755|os.ModeSetuid)

	test := exec.Command(self, "-test.run=^TestAsNobody$", "-test.v")
	test.Dir = "/"
	test.Env = append(os.Environ(), "USPAN_TARGET_TEST_SETUID="+setuid, fmt.Sprintf("USPAN_TARGET_TEST_OTHER=%d", os.Getpid()))
	test.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := test.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAsNobody") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAsNobody is run by TestStartUnprivileged.
func TestAsNobody(t *testing.T) {
	setuid := os.Getenv("USPAN_TARGET_TEST_SETUID")
	if setuid == "" {
		return
	}
	if _, err := Start(Command{Path: setuid}); !errors.Is(err, ErrNotExecutable) || !strings.Contains(err.Error(), "has the set-user-ID bit") {
		t.Errorf("a setuid executable: %v", err)
	}
	if _, err := Start(Command{Path: "true", User: "root"}); err == nil || errors.Is(err, ErrNotExecutable) || !strings.Contains(err.Error(), "become user root") {
		t.Errorf("as root: %v", err)
	}
	other, _ := strconv.Atoi(os.Getenv("USPAN_TARGET_TEST_OTHER"))
	if _, err := Open(other); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_SYS_PTRACE") {
		t.Errorf("a process of root's: %v", err)
	}
	if found, err := Find(Inode{}, 0); found.Hidden == 0 || err != nil {
		t.Errorf("hidden processes: %+v, %v", found, err)
	}
	p, err := Start(Command{Path: "true"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Resume(); err != nil {
		t.Error(err)
	}
	if status, err := p.Wait(); status != (Status{}) || err != nil {
		t.Errorf("Wait is %v, %v", status, err)
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, mode); err != nil {
		t.Fatal(err)
	}
}
