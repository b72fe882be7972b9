package plan

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/internal/kerneltest"
)

// disassembly is what objdump, which has a decoder of its own, makes of the code
// of functions: the mnemonic of the instruction at each address.
type disassembly map[uint64]string

// gap is put between functions: more NOPs of amd64 than the longest instruction
// has bytes, so that whatever the end of one is taken for, the next begins aright;
// on arm64 it is an instruction, too.
var gap = bytes.Repeat([]byte{0x90}, 32)

// objdumps are the commands that disassemble what has no headers.
var objdumps = map[gobin.Arch][]string{
	gobin.AMD64: {"objdump", "-m", "i386:x86-64"},
	gobin.ARM64: {"aarch64-linux-gnu-objdump", "-m", "aarch64"},
}

// mnemonics are what objdump calls the instructions of a kind.
var mnemonics = map[gobin.Arch]map[gobin.Kind][]string{
	gobin.AMD64: {
		gobin.PushFrame:    {"push"},
		gobin.Return:       {"ret", "repz"},
		gobin.Jump:         {"jmp"},
		gobin.JumpRegister: {"jmp"},
		gobin.CondJump:     {"ja", "jae", "jb", "jbe", "je", "jg", "jge", "jl", "jle", "jne", "jno", "jnp", "jns", "jo", "jp", "js"},
		gobin.Call:         {"call"},
		gobin.Nop:          {"nop", "nopl", "nopw", "xchg", "data16", "cs"},
	},
	gobin.ARM64: {
		gobin.PushFrame:    {"str"},
		gobin.Return:       {"ret"},
		gobin.Jump:         {"b"},
		gobin.JumpRegister: {"br", "ret"}, // RET (Rn) in wrappers, from Go 1.27 on
		gobin.CondJump: {"b.cc", "b.cs", "b.eq", "b.ge", "b.gt", "b.hi", "b.le", "b.ls", "b.lt", "b.mi", "b.ne", "b.pl", "b.vc", "b.vs",
			"cbnz", "cbz", "tbnz", "tbz"},
		gobin.Call: {"bl"},
		gobin.Nop:  {"nop"},
	},
}

// disassemble runs objdump over the code of functions, each from its first byte.
func disassemble(t *testing.T, f *gobin.File, functions []*Function) disassembly {
	t.Helper()
	objdump := objdumps[f.Arch]
	if _, err := exec.LookPath(objdump[0]); err != nil {
		kerneltest.Missing(t, "needs %s (Debian's binutils or binutils-aarch64-linux-gnu)", objdump[0])
	}
	type piece struct{ at, size, addr uint64 }
	var pieces []piece
	var code []byte
	for _, fn := range functions {
		body := make([]byte, fn.End-fn.Entry)
		if err := f.ReadAddr(body, fn.Entry); err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, piece{uint64(len(code)), uint64(len(body)), fn.Entry})
		code = append(append(code, body...), gap...)
	}
	path := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(path, code, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(objdump[0], append(objdump[1:], "-D", "-b", "binary", "-w", "--no-show-raw-insn", path)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(disassembly)
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); {
		number, text, ok := strings.Cut(lines.Text(), ":\t")
		at, err := strconv.ParseUint(strings.TrimSpace(number), 16, 64)
		if !ok || err != nil {
			continue
		}
		for i < len(pieces)-1 && at >= pieces[i+1].at {
			i++
		}
		if p := pieces[i]; at >= p.at && at-p.at < p.size {
			found[p.addr+at-p.at] = text
		}
	}
	if err := cmd.Wait(); err != nil || lines.Err() != nil {
		t.Fatal(err, lines.Err())
	}
	return found
}

// mnemonic is that of an instruction.
func mnemonic(text string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	name, _, _ = strings.Cut(name, "\t")
	return name
}

// sites are all of a function.
func (f *Function) sites() []Site { return slices.Concat(f.Entries, f.Exits) }

// checkSites holds the sites of functions against objdump: each is an
// instruction, and the one that was planned; and every return is an exit.
func checkSites(t *testing.T, f *gobin.File, functions []*Function) {
	t.Helper()
	code := disassemble(t, f, functions)
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf(format, args...)
		}
	}
	for _, fn := range functions {
		exits := make(map[uint64]bool)
		for _, s := range fn.sites() {
			text, ok := code[s.Addr]
			name := mnemonic(text)
			switch expected := mnemonics[f.Arch][s.Kind]; {
			case !ok:
				complain("%s+%#x: no instruction begins there", fn.Symbol, s.Addr-fn.Entry)
			case len(expected) > 0 && !slices.Contains(expected, name):
				complain("%s+%#x: %s, not %v", fn.Symbol, s.Addr-fn.Entry, text, expected)
			case s.Kind == gobin.Return && f.Arch == gobin.ARM64 && strings.TrimSpace(text) != "ret":
				complain("%s+%#x: %s, not ret", fn.Symbol, s.Addr-fn.Entry, text)
			case s.Condition == NotBelowOrEqual && name != "jbe" && name != "b.ls":
				complain("%s+%#x: %s, not jbe or b.ls", fn.Symbol, s.Addr-fn.Entry, text)
			}
			exits[s.Addr], exits[s.Addr+uint64(len(s.Bytes))] = true, s.Kind == gobin.Nop
		}
		for addr := fn.Entry; addr < fn.End; addr++ {
			if text := strings.TrimSpace(code[addr]); (mnemonic(text) == "ret" || text == "repz ret") && !exits[addr] {
				complain("%s+%#x: a return that is no exit", fn.Symbol, addr-fn.Entry)
			}
		}
	}
	if wrong > 20 {
		t.Errorf("and %d more", wrong-20)
	}
}
