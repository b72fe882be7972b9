//go:build cgo

// Tests with programs of C need a C compiler. Guests have none: tests for them are
// built without cgo.

package instrument_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// counterSource is part of a Go package that counts calls: Work calls helper n times, and
// itself on a goroutine of its own.
const counterSource = `
var calls struct{ work, helper int64 }

//go:noinline
func work(n int64) int64 {
	atomic.AddInt64(&calls.work, 1)
	done := make(chan int64)
	for i := int64(0); i < n; i++ {
		go func() { done <- helper(i, [1500]byte{1}) }()
		n += <-done - 1
	}
	return n
}

//go:noinline
func helper(n int64, big [1500]byte) int64 {
	atomic.AddInt64(&calls.helper, 1)
	if n%16 == 0 {
		runtime.GC()
	}
	return int64(big[0])
}

func tell() {
	fmt.Printf("{\"main.work\": %d, \"main.helper\": %d}\n", atomic.LoadInt64(&calls.work), atomic.LoadInt64(&calls.helper))
}
`

// A C program with Go linked into it calls Go on threads of its own, which have
// no goroutine but for the time of a call.
func TestArchiveInC(t *testing.T) {
	kerneltest.Require(t)
	const library = "-- go.mod --\nmodule example.com/archive\n\ngo 1.18\n-- main.go --\npackage main\n\n" +
		"import (\n\t\"C\"\n\t\"fmt\"\n\t\"runtime\"\n\t\"sync/atomic\"\n)\n" + counterSource + `
//export Work
func Work(n int64) int64 { return work(n) }

//export Tell
func Tell() { tell() }

func main() {}
`
	const program = `
#include <pthread.h>
#include <stdio.h>
static __thread char mine[100] = "thread";
extern long long Work(long long);
extern void Tell(void);
static void *run(void *arg)
{
	for (int i = 0; i < 50; i++)
		mine[i] = Work(i % 4);
	return arg;
}
int main(void)
{
	pthread_t threads[8];
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, run, NULL);
	run(NULL);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	Tell();
	return 0;
}
`
	dir := t.TempDir()
	source := filepath.Join(dir, "main.c")
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, version := range testprog.Versions() {
		built := testprog.Build(t, library, testprog.Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=c-archive"}})
		archive := filepath.Join(dir, version+".a")
		if err := os.Symlink(built, archive); err != nil {
			t.Fatal(err)
		}
		for _, flags := range []string{"-pie", "-no-pie", "-static-pie", "-pie -s"} {
			t.Run(version+" "+flags, func(t *testing.T) {
				exe := filepath.Join(t.TempDir(), "program")
				args := append([]string{"-O2", "-o", exe, source, archive, "-lpthread"}, strings.Fields(flags)...)
				if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
					t.Fatalf("gcc: %v\n%s", err, out)
				}
				exact(t, []string{"main.work", "main.helper"}, target.Command{Path: exe})
			})
		}
	}
}

// A program that loads plugins is traced as any other; what is in the plugins is
// in other files.
func TestPluginHost(t *testing.T) {
	kerneltest.Require(t)
	const library = "-- go.mod --\nmodule example.com/plugin\n\ngo 1.18\n-- main.go --\npackage main\n\n" +
		"func Add(n int64) int64 { return n + 1 }\n\nfunc main() {}\n"
	const host = "-- go.mod --\nmodule example.com/host\n\ngo 1.18\n-- main.go --\npackage main\n\n" +
		"import (\n\t\"fmt\"\n\t\"os\"\n\t\"plugin\"\n\t\"runtime\"\n\t\"sync/atomic\"\n)\n" + counterSource + `
func main() {
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	add, err := loaded.Lookup("Add")
	if err != nil {
		panic(err)
	}
	for i := int64(0); i < 100; i++ {
		work(add.(func(int64) int64)(i % 3))
	}
	tell()
}
`
	for _, version := range testprog.Versions() {
		t.Run(version, func(t *testing.T) {
			o := testprog.Options{GoVersion: version, Cgo: true, Flags: []string{"-buildmode=plugin"}}
			plugin := testprog.Build(t, library, o)
			o.Flags = nil
			exact(t, []string{"main.work", "main.helper"},
				target.Command{Path: testprog.Build(t, host, o), Args: []string{plugin}})
		})
	}
}

// A C program that has loaded Go code is refused for what that is, by its process.
func TestLibraryInC(t *testing.T) {
	kerneltest.Require(t)
	const library = "-- go.mod --\nmodule example.com/library\n\ngo 1.18\n-- main.go --\npackage main\n\n" +
		"import \"C\"\n\n//export Work\nfunc Work(n int64) int64 { return n + 1 }\n\nfunc main() {}\n"
	const program = `
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	long long (*work)(long long) = dlsym(dlopen(argv[1], RTLD_NOW), "Work");
	printf("%lld\\n", work(1));
	fflush(stdout);
	return getchar();
}
`
	dir := t.TempDir()
	source, exe := filepath.Join(dir, "main.c"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", exe, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	built := testprog.Build(t, library, testprog.Options{Cgo: true, Flags: []string{"-buildmode=c-shared"}})
	command := exec.Command(exe, built)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Kill()
	if _, err := stdout.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	trace, err := instrument.Start(instrument.Config{
		Targets: []string{strconv.Itoa(command.Process.Pid)},
		Rules:   plan.Rules{Patterns: []string{"main.*"}},
		Say:     func(string) {}, Log: func(string) {},
	})
	if err == nil {
		trace.Close()
	}
	if want := built + " is a shared library (-buildmode=c-shared"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Start: %v, not %s", err, want)
	}
}
