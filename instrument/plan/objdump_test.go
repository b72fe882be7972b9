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

// gap is put between functions: more NOPs than the longest instruction has
// bytes, so that whatever the end of one is taken for, the next begins aright.
var gap = bytes.Repeat([]byte{0x90}, 32)

// disassemble runs objdump over the code of functions, each from its first byte.
func disassemble(t *testing.T, f *gobin.File, functions []*Function) disassembly {
	t.Helper()
	if _, err := exec.LookPath("objdump"); err != nil {
		kerneltest.Missing(t, "needs objdump (binutils)")
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
	cmd := exec.Command("objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-w", "--no-show-raw-insn", path)
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

// sites are all of a function.
func (f *Function) sites() []Site { return slices.Concat(f.Entries, f.Exits) }

// checkSites holds the sites of functions against objdump: each is an
// instruction, and the one that was planned; and every return is an exit.
func checkSites(t *testing.T, f *gobin.File, functions []*Function) {
	t.Helper()
	mnemonics := map[gobin.Kind][]string{
		gobin.PushFrame:    {"push"},
		gobin.Return:       {"ret", "repz"},
		gobin.Jump:         {"jmp"},
		gobin.JumpRegister: {"jmp"},
		gobin.CondJump:     {"ja", "jae", "jb", "jbe", "je", "jg", "jge", "jl", "jle", "jne", "jno", "jnp", "jns", "jo", "jp", "js"},
		gobin.Call:         {"call"},
		gobin.Nop:          {"nop", "nopl", "nopw", "xchg", "data16", "cs"},
	}
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
			name, _, _ := strings.Cut(strings.TrimSpace(text), " ")
			switch expected := mnemonics[s.Kind]; {
			case !ok:
				complain("%s+%#x: no instruction begins there", fn.Symbol, s.Addr-fn.Entry)
			case len(expected) > 0 && !slices.Contains(expected, name):
				complain("%s+%#x: %s, not %v", fn.Symbol, s.Addr-fn.Entry, text, expected)
			case s.Condition == NotBelowOrEqual && name != "jbe":
				complain("%s+%#x: %s, not jbe", fn.Symbol, s.Addr-fn.Entry, text)
			}
			exits[s.Addr], exits[s.Addr+uint64(len(s.Bytes))] = true, s.Kind == gobin.Nop
		}
		for addr := fn.Entry; addr < fn.End; addr++ {
			if text := strings.TrimSpace(code[addr]); (text == "ret" || text == "repz ret") && !exits[addr] {
				complain("%s+%#x: a return that is no exit", fn.Symbol, addr-fn.Entry)
			}
		}
	}
	if wrong > 20 {
		t.Errorf("and %d more", wrong-20)
	}
}
