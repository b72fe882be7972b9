package gobin

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
)

// Ranges in, across and beyond blocks are what the file has.
func TestBlocks(t *testing.T) {
	file := make([]byte, 300*blockSize+100) // more than are kept
	for i := range file {
		file[i] = byte(i / 7 * 31)
	}
	reads := 0
	b := NewBlocks(readerFunc(func(p []byte, at int64) (int, error) {
		reads++
		return bytes.NewReader(file).ReadAt(p, at)
	}), int64(len(file)))
	for _, test := range []struct{ offset, n int }{
		{0, 0}, {0, 1}, {0, blockSize}, {1, blockSize}, {blockSize - 1, 2}, {5*blockSize - 8, 16},
		{3, 2*blockSize + 1}, {44 * blockSize, blockSize}, {300 * blockSize, 100}, {len(file) - 1, 1}, {len(file), 0},
	} {
		got, err := b.Range(int64(test.offset), test.n)
		if err != nil || !bytes.Equal(got, file[test.offset:test.offset+test.n]) {
			t.Errorf("%d bytes at %d: %v, or other bytes", test.n, test.offset, err)
		}
	}
	for _, test := range []struct{ offset, n int64 }{{-1, 1}, {0, -1}, {int64(len(file)), 1}, {0, int64(len(file)) + 1}, {1 << 62, 1}} {
		if _, err := b.Range(test.offset, int(test.n)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes at %d: %v", test.n, test.offset, err)
		}
	}
	before := reads
	for i := range 1000 {
		if _, err := b.Range(int64(20*blockSize+i), 8); err != nil {
			t.Fatal(err)
		}
	}
	if reads-before != 1 {
		t.Errorf("%d reads of one block", reads-before)
	}
	b.Drop()
	if _, err := b.Range(20*blockSize, 8); err != nil || reads-before != 2 {
		t.Errorf("%d reads, and one after Drop: %v", reads-before, err)
	}
}

// A file that got shorter is an error, and not remembered.
func TestBlocksOfShrunkFile(t *testing.T) {
	file := make([]byte, 100)
	b := NewBlocks(bytes.NewReader(file), 2*blockSize)
	for range 2 {
		if _, err := b.Range(0, 200); err == nil {
			t.Error("200 bytes of 100")
		}
		if _, err := b.Range(blockSize-1, 2); err == nil {
			t.Error("bytes behind the end")
		}
	}
}

func TestBlocksConcurrently(t *testing.T) {
	file := make([]byte, 2*len(Blocks{}.kept)*blockSize) // two blocks for each slot
	for i := range file {
		file[i] = byte(i / blockSize)
	}
	b := NewBlocks(bytes.NewReader(file), int64(len(file)))
	var workers sync.WaitGroup
	for n := range 8 {
		workers.Go(func() {
			for i := range 2000 {
				number := (i*7 + n*3) % (len(file) / blockSize)
				if got, err := b.Range(int64(number*blockSize), 1); err != nil || got[0] != byte(number) {
					t.Errorf("block %d: %v, %v", number, got, err)
					return
				}
			}
		})
	}
	workers.Wait()
}

type readerFunc func(p []byte, at int64) (int, error)

func (f readerFunc) ReadAt(p []byte, at int64) (int, error) { return f(p, at) }
