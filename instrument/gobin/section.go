package gobin

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
)

// debugSection finds a DWARF section, in the executable or in its separate debug
// file.
func (f *File) debugSection(name string) (*elf.Section, bool) {
	if f.separate != nil {
		return sectionOf(f.separate.elf, name)
	}
	return sectionOf(f.elf, name)
}

// sectionOf finds a DWARF section under its name, or under that which older
// linkers give to a compressed one.
func sectionOf(file *elf.File, name string) (*elf.Section, bool) {
	for _, prefix := range []string{".debug_", ".zdebug_"} {
		if s := file.Section(prefix + name); s != nil && s.Type != elf.SHT_NOBITS && s.FileSize > 0 {
			return s, true
		}
	}
	return nil, false
}

// readDebugSection reads a section, decompressed; nil where there is none.
func (f *File) readDebugSection(name string) ([]byte, error) {
	s, ok := f.debugSection(name)
	switch {
	case !ok:
		return nil, nil
	case f.separate != nil:
		return contents(s, f.separate.file, f.separate.size)
	}
	return contents(s, f.reader, f.size)
}

// contents reads a section of a file of so many bytes. What zlib has compressed, which
// is what Go's linker does, is decompressed here, twice as fast as debug/elf would.
func contents(s *elf.Section, file io.ReaderAt, size int64) ([]byte, error) {
	// DWARF shrinks to a third or a quarter; a file that claims much more is
	// broken, or wants our memory.
	const usualRatio, maxRatio, most = 16, 64, 256 << 20
	if s.FileSize > uint64(size) {
		return nil, errors.New("it is longer than the file")
	}
	header, length := 0, uint64(0)
	head := make([]byte, 24)
	if n, err := file.ReadAt(head, int64(s.Offset)); err != nil && err != io.EOF {
		return nil, err
	} else if n < len(head) || s.FileSize < uint64(n) {
		return s.Data()
	}
	switch {
	case s.Flags&elf.SHF_COMPRESSED != 0:
		if length = s.Size; elf.CompressionType(binary.LittleEndian.Uint32(head)) == elf.COMPRESS_ZLIB {
			header = len(head) // an elf.Chdr64
		}
	case strings.HasPrefix(s.Name, ".z") && bytes.HasPrefix(head, []byte("ZLIB")):
		// as older linkers compress, with the size as a big-endian word
		header, length = 12, binary.BigEndian.Uint64(head[4:])
	}
	if length/maxRatio > s.FileSize {
		return nil, fmt.Errorf("its %d bytes would decompress to %d", s.FileSize, length)
	}
	if header == 0 {
		return s.Data()
	}
	compressed := io.NewSectionReader(file, int64(s.Offset)+int64(header), int64(s.FileSize)-int64(header))
	z, err := zlib.NewReader(bufio.NewReaderSize(compressed, 1<<16))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	plain := bytes.NewBuffer(make([]byte, 0, min(length, usualRatio*min(s.FileSize, most), most)+bytes.MinRead))
	if _, err := plain.ReadFrom(io.LimitReader(z, int64(length))); err != nil {
		return nil, err
	}
	if uint64(plain.Len()) < length {
		return nil, io.ErrUnexpectedEOF
	}
	return plain.Bytes(), nil
}
