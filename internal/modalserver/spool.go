package modalserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"
)

const (
	spoolMemory = 1 << 20   // bytes kept in memory; what follows goes to a file
	spoolAhead  = 256 << 20 // bytes that a writer may be ahead of the furthest reader
	chunkSize   = 128 << 10 // bytes read at once
)

var (
	errReleased = errors.New("output is no longer kept")
	errNotKept  = errors.New("output cannot be kept")
)

// spool keeps everything written to it for readers that start at any offset,
// at any time. A writer that is far ahead of every reader has to wait.
type spool struct {
	dir string // of the file; "" = the system's

	mu       sync.Mutex
	memory   []byte
	file     *os.File // what follows memory; nil = nothing does
	size     int64
	furthest int64         // the highest offset that a reader has reached
	ended    error         // io.EOF, or why there is no more; nil = there may be more
	changed  chan struct{} // closed when one of these changes
}

func newSpool(dir string) *spool { return &spool{dir: dir, changed: make(chan struct{})} }

func (s *spool) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Write keeps p. It waits while readers are too far behind, and fails once the spool has ended.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ended == nil && s.size-s.furthest > spoolAhead {
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	if s.ended != nil {
		return 0, io.ErrClosedPipe
	}
	rest := p
	if room := spoolMemory - len(s.memory); room > 0 {
		n := min(room, len(rest))
		s.memory = append(s.memory, rest[:n]...)
		rest = rest[n:]
	}
	if len(rest) > 0 {
		at := s.size + int64(len(p)-len(rest))
		if err := s.spillLocked(rest, at-spoolMemory); err != nil {
			return 0, err
		}
	}
	s.size += int64(len(p))
	s.notifyLocked()
	return len(p), nil
}

func (s *spool) spillLocked(p []byte, at int64) error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "output-*")
		if err != nil {
			return fmt.Errorf("%w: %w", errNotKept, err)
		}
		// Without a name it vanishes with the process, however that ends. Where
		// an open file cannot be removed, release does it.
		_ = os.Remove(file.Name())
		s.file = file
	}
	if _, err := s.file.WriteAt(p, at); err != nil {
		return fmt.Errorf("%w: %w", errNotKept, err)
	}
	return nil
}

// end says that nothing more is coming: io.EOF, or why. Only the first call counts.
func (s *spool) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = reason
		s.notifyLocked()
	}
}

// fill copies everything from the readers and ends the spool when all of them
// have ended, or at once when it can keep no more: the readers are then read
// all the same, as a command that nobody reads would wait for ever.
func (s *spool) fill(readers ...io.Reader) {
	var copies errgroup.Group
	for _, r := range readers {
		copies.Go(func() error {
			_, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{r}, make([]byte, 64<<10))
			if errors.Is(err, errNotKept) || errors.Is(err, io.ErrClosedPipe) {
				s.end(err)
				_, _ = io.Copy(io.Discard, r)
			}
			return err
		})
	}
	err := copies.Wait()
	if err == nil || errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = io.EOF
	}
	s.end(err)
}

// read fills p from offset on. It waits for at least one byte, the end of the
// spool (whose reason it returns) or the end of ctx.
func (s *spool) read(ctx context.Context, p []byte, offset int64) (int, error) {
	for {
		s.mu.Lock()
		s.furthest = max(s.furthest, min(offset, s.size))
		changed, ended, available := s.changed, s.ended, s.size-offset
		if available > 0 {
			n, err := s.copyLocked(p[:min(int64(len(p)), available)], offset)
			if s.furthest < offset+int64(n) {
				s.furthest = offset + int64(n)
				s.notifyLocked()
			}
			s.mu.Unlock()
			return n, err
		}
		s.mu.Unlock()
		if ended != nil {
			return 0, ended
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *spool) copyLocked(p []byte, offset int64) (int, error) {
	switch {
	case offset < int64(len(s.memory)):
		return copy(p, s.memory[offset:]), nil
	case s.file != nil:
		return s.file.ReadAt(p, offset-spoolMemory)
	default:
		return 0, errReleased
	}
}

// release gives up what was kept.
func (s *spool) release() {
	s.end(errReleased)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = nil
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}
