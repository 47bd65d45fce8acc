package modalclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrOutputLimit means that a sandbox sent more than there is room for.
var ErrOutputLimit = errors.New("more output than is collected")

// tailFlood is how much may be written to a tail, in bytes: nothing that ends
// says so much on stderr.
const tailFlood = 1 << 30

// tail is a writer that keeps the last bytes of what it is given.
type tail struct {
	limit   int
	data    []byte
	written int64
}

func (t *tail) Write(p []byte) (int, error) {
	if t.written += int64(len(p)); t.written > tailFlood {
		return 0, fmt.Errorf("more than %d bytes on stderr: %w", int64(tailFlood), ErrOutputLimit)
	}
	t.data = append(t.data, p[max(0, len(p)-t.limit):]...)
	if surplus := len(t.data) - t.limit; surplus > t.limit {
		t.data = append(t.data[:0], t.data[surplus:]...)
	}
	return len(p), nil
}

// cut reports whether something is missing at the front.
func (t *tail) cut() bool { return t.written > int64(t.limit) }

func (t *tail) String() string {
	return string(t.data[max(0, len(t.data)-t.limit):])
}

// Buffer is a writer that keeps what it is given, up to a limit. It may be used
// from several goroutines.
type Buffer struct {
	limit int64
	full  context.CancelCauseFunc

	mu     sync.Mutex
	blocks [][]byte
	size   int64
}

// NewBuffer returns a buffer that keeps so many bytes. Full, if it is not nil,
// is told when there are more; writing them is an error that matches
// [ErrOutputLimit] as well.
func NewBuffer(limit int64, full context.CancelCauseFunc) *Buffer {
	return &Buffer{limit: limit, full: full}
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := int(min(int64(len(p)), b.limit-b.size))
	b.append(p[:n])
	if n == len(p) {
		return n, nil
	}
	err := fmt.Errorf("more than %d bytes: %w", b.limit, ErrOutputLimit)
	if b.full != nil {
		b.full(err)
	}
	return n, err
}

// append fills the last block and adds one that is as large as all before: the
// bytes move once.
func (b *Buffer) append(p []byte) {
	const least, most = 4 << 10, 16 << 20
	b.size += int64(len(p))
	for len(p) > 0 {
		last := len(b.blocks) - 1
		if last < 0 || len(b.blocks[last]) == cap(b.blocks[last]) {
			b.blocks = append(b.blocks, make([]byte, 0, min(max(b.size, least), most)))
			last++
		}
		block := b.blocks[last]
		n := min(len(p), cap(block)-len(block))
		b.blocks[last] = append(block, p[:n]...)
		p = p[n:]
	}
}

// Bytes returns what was written.
func (b *Buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.blocks) == 1 {
		return b.blocks[0]
	}
	data := make([]byte, 0, b.size)
	for i, block := range b.blocks {
		data = append(data, block...)
		b.blocks[i] = nil
	}
	b.blocks = [][]byte{data}
	return data
}
