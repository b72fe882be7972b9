package gobin

import (
	"io"
	"sync/atomic"
)

// Blocks read a file in blocks and keep those that were read last, at most 8 MiB
// of them: a plan reads the code, the records and the tables of thousands of
// functions, each a few bytes, one behind the other. Blocks are safe for
// concurrent use. What is kept is what the file had when it was read.
type Blocks struct {
	reader io.ReaderAt
	size   int64
	kept   [2048]atomic.Pointer[block] // by the number of the block, modulo
}

const blockSize = 4 << 10

// A block is never changed once it is read.
type block struct {
	number int64
	data   []byte // shorter than blockSize at the end of the file
}

// NewBlocks returns Blocks for the first size bytes of r.
func NewBlocks(r io.ReaderAt, size int64) *Blocks { return &Blocks{reader: r, size: size} }

// Range returns n bytes at an offset, which must not be modified: they may be
// part of a block. The file must have them.
func (b *Blocks) Range(offset int64, n int) ([]byte, error) {
	if offset < 0 || n < 0 || offset > b.size || int64(n) > b.size-offset {
		return nil, io.ErrUnexpectedEOF
	}
	if n == 0 {
		return nil, nil
	}
	if offset/blockSize == (offset+int64(n)-1)/blockSize {
		return b.within(offset, n)
	}
	p := make([]byte, n)
	if n > blockSize {
		read, err := b.reader.ReadAt(p, offset)
		if read == n {
			err = nil
		}
		return p, err
	}
	first, err := b.within(offset, int(blockSize-offset%blockSize))
	if err != nil {
		return nil, err
	}
	rest, err := b.within(offset+int64(len(first)), n-len(first))
	if err != nil {
		return nil, err
	}
	copy(p[copy(p, first):], rest)
	return p, nil
}

// within is Range for bytes of one block.
func (b *Blocks) within(offset int64, n int) ([]byte, error) {
	number := offset / blockSize
	slot := &b.kept[number%int64(len(b.kept))]
	found := slot.Load()
	if found == nil || found.number != number {
		begin := number * blockSize
		found = &block{number, make([]byte, min(blockSize, b.size-begin))}
		if read, err := b.reader.ReadAt(found.data, begin); read < len(found.data) {
			return nil, err
		}
		slot.Store(found)
	}
	from := int(offset % blockSize)
	return found.data[from : from+n : from+n], nil
}

// Drop forgets all blocks; they are read again when they are needed.
func (b *Blocks) Drop() {
	for i := range b.kept {
		b.kept[i].Store(nil)
	}
}
