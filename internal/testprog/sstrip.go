package testprog

import (
	"encoding/binary"
	"os"
	"testing"
)

// removeHeaders makes the ELF header say that there are no section headers, and
// cuts off what lies behind the last segment (elf(5)).
func removeHeaders(t testing.TB, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("remove section headers: %v", err)
	}
	const programSize = 56
	le := binary.LittleEndian
	programs, end := le.Uint64(data[32:]), uint64(0)
	for i := range uint64(le.Uint16(data[56:])) {
		p := data[programs+i*programSize:]
		end = max(end, le.Uint64(p[8:])+le.Uint64(p[32:]))
	}
	clear(data[40:48]) // e_shoff
	clear(data[58:64]) // e_shentsize, e_shnum, e_shstrndx
	if err := os.WriteFile(path, data[:end], 0o755); err != nil {
		t.Fatalf("remove section headers: %v", err)
	}
}
