package gobin

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// DWARF says the same however a linker has compressed it.
func TestCompressedDWARF(t *testing.T) {
	if _, err := exec.LookPath("objcopy"); err != nil {
		kerneltest.Missing(t, "needs objcopy")
	}
	exe := testprog.Build(t, shapes(t), testprog.Options{})
	want := listSignatures(t, open(t, exe))
	for _, compression := range []string{"none", "zlib-gabi", "zlib-gnu", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "exe")
			if out, err := exec.Command("objcopy", "--compress-debug-sections="+compression, exe, path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			file, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			s, ok := sectionOf(file, "info")
			if !ok {
				t.Fatal("no .debug_info")
			}
			plain := compression == "none"
			if compressed := s.Flags&elf.SHF_COMPRESSED != 0 || strings.HasPrefix(s.Name, ".z"); compressed == plain {
				t.Fatalf("compressed: %v", compressed)
			}
			if diff := cmp.Diff(want, listSignatures(t, open(t, path))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
