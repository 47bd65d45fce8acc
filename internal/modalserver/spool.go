package modalserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"golang.org/x/sync/errgroup"
)

const (
	chunkSize = 128 << 10 // bytes read at once
	// pipeRoom is the most that a pipe can hold: it is taken from a process that
	// has ended however much waits to be read, so that the pipe can be closed.
	pipeRoom = 1 << 20
)

var (
	errReleased = errors.New("output is no longer kept")
	errNegative = errors.New("negative offset")
)

// spool keeps what is written to it for readers that start at any offset, as
// far as it is still kept. A writer that is far ahead of every reader waits,
// or, where the output may be nobody's, drops what is oldest.
type spool struct {
	pool  *pool
	lossy bool // drops instead of waiting

	// What follows is guarded by the pool's mutex.
	blocks   []*block
	base     int64 // offset of the first byte that is kept
	size     int64
	furthest int64 // the highest offset that a reader has reached
	last     bool  // the process is gone: only what its pipe holds is to come
	released bool
	ended    error         // io.EOF, or why there is no more; nil = there may be more
	changed  chan struct{} // closed when there is more, or the end
}

func newSpool(p *pool, lossy bool) *spool {
	return &spool{pool: p, lossy: lossy, changed: make(chan struct{})}
}

func (s *spool) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Write keeps p. It waits while readers are too far behind, and fails once the
// spool has ended or can keep no more.
func (s *spool) Write(p []byte) (int, error) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	written := 0
	for written < len(p) {
		if s.ended != nil {
			return written, io.ErrClosedPipe
		}
		n, err := s.appendLocked(p[written:])
		if err != nil {
			return written, err
		}
		if n > 0 {
			written += n
			continue
		}
		if s.pool.over {
			return written, fmt.Errorf("%w: the limit for output that nobody has read is reached", errNotKept)
		}
		changed, room := s.changed, s.pool.changed
		s.pool.mu.Unlock()
		select {
		case <-changed:
		case <-room:
		}
		s.pool.mu.Lock()
	}
	return written, nil
}

// appendLocked takes as much as there is room for.
func (s *spool) appendLocked(p []byte) (int, error) {
	for {
		room := s.pool.budget.sandbox/unreadShare - (s.size - s.furthest)
		if s.last {
			room += pipeRoom
		}
		n, err := 0, error(nil)
		if room > 0 {
			n, err = s.pool.growLocked(s, p[:min(int64(len(p)), room)])
		}
		if n > 0 || err != nil {
			s.size += int64(n)
			s.notifyLocked()
			return n, err
		}
		if !s.lossy || len(s.blocks) == 0 {
			return 0, nil
		}
		s.pool.dropLocked(s, 1)
	}
}

// closing says that the process is gone.
func (s *spool) closing() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.last = true
	s.pool.notifyLocked()
}

// end says that nothing more is coming: io.EOF, or why. Only the first call counts.
func (s *spool) end(reason error) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.endLocked(reason)
}

func (s *spool) endLocked(reason error) {
	if s.ended != nil {
		return
	}
	s.ended = reason
	s.notifyLocked()
	if s.pool.over {
		s.pool.dropReadLocked(0)
	}
}

// fill copies everything from the readers, closes them and ends the spool when
// all of them have ended, or at once when it can keep no more: the readers are
// then read all the same, as a command that nobody reads would wait for ever.
func (s *spool) fill(readers ...io.ReadCloser) {
	var copies errgroup.Group
	for _, r := range readers {
		copies.Go(func() error {
			_, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{r}, make([]byte, 64<<10))
			if errors.Is(err, errNotKept) || errors.Is(err, io.ErrClosedPipe) {
				s.end(err)
				_, _ = io.Copy(io.Discard, r)
			}
			_ = r.Close() // everything has been read
			return err
		})
	}
	err := copies.Wait()
	if err == nil || errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = io.EOF
	}
	s.end(err)
}

// read fills p from offset on and returns the offset of what follows. It waits
// for at least one byte, the end of the spool (whose reason it returns) or the
// end of ctx. Where bytes were dropped p tells how many, in words.
func (s *spool) read(ctx context.Context, p []byte, offset int64) (n int, next int64, err error) {
	if offset < 0 {
		return 0, offset, errNegative
	}
	for {
		s.pool.mu.Lock()
		n, next, err := s.takeLocked(p, offset)
		changed := s.changed
		s.pool.mu.Unlock()
		if n > 0 || err != nil {
			return n, next, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, offset, ctx.Err()
		}
	}
}

func (s *spool) takeLocked(p []byte, offset int64) (n int, next int64, err error) {
	switch {
	case s.released:
		return 0, offset, errReleased
	case offset < s.base && !s.lossy:
		return 0, offset, fmt.Errorf("%w before byte %d", errReleased, s.base)
	case offset < s.base:
		return copy(p, fmt.Sprintf("\n[%d bytes of output were not kept]\n", s.base-offset)), s.base, nil
	case offset >= s.size:
		s.pool.advanceLocked(s, offset)
		if s.ended != nil && s.pool.over {
			s.pool.dropReadLocked(0)
		}
		return 0, offset, s.ended
	}
	at := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].end() > offset })
	b := s.blocks[at]
	from := offset - b.start
	p = p[:min(int64(len(p)), int64(b.size)-from)]
	if b.memory != nil {
		n = copy(p, b.memory[from:])
	} else if n, err = s.pool.file.ReadAt(p, b.at+from); err != nil {
		return 0, offset, fmt.Errorf("%w: %w", errNotKept, err)
	}
	s.pool.advanceLocked(s, offset+int64(n))
	return n, offset + int64(n), nil
}

// release gives up what was kept.
func (s *spool) release() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.releaseLocked()
}

func (s *spool) releaseLocked() {
	s.endLocked(errReleased)
	s.released = true
	s.pool.dropLocked(s, len(s.blocks))
}

// settled reports whether everything has been written and read.
func (s *spool) settled() bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.released || s.ended != nil && s.furthest == s.size
}
