package modalserver

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stdinAhead is how many bytes may wait for a process to read them before
// writers are held back.
const stdinAhead = 4 << 20

// stdin feeds a process from calls that may be repeated: each says where its
// data belongs, and what has arrived before is dropped.
type stdin struct {
	pipe io.WriteCloser

	mu       sync.Mutex
	accepted uint64 // position after the last byte (or message) taken
	pending  [][]byte
	waiting  int  // bytes in pending
	eof      bool // no more is coming
	broken   bool // the process takes no more
	changed  chan struct{}
}

func newStdin(pipe io.WriteCloser) *stdin { return &stdin{pipe: pipe, changed: make(chan struct{})} }

func (s *stdin) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// pump writes to the process until there is an end of file or nobody reads any more.
func (s *stdin) pump() {
	defer func() { _ = s.pipe.Close() }()
	for {
		s.mu.Lock()
		for len(s.pending) == 0 && !s.eof && !s.broken {
			changed := s.changed
			s.mu.Unlock()
			<-changed
			s.mu.Lock()
		}
		if len(s.pending) == 0 || s.broken {
			s.mu.Unlock()
			return
		}
		data := s.pending[0]
		s.mu.Unlock()
		_, err := s.pipe.Write(data)
		s.mu.Lock()
		if err != nil && !s.broken {
			s.breakLocked()
		}
		if s.broken { // by us, or by stop meanwhile
			s.mu.Unlock()
			return
		}
		s.pending = s.pending[1:]
		s.waiting -= len(data)
		s.notifyLocked()
		s.mu.Unlock()
	}
}

// stop drops what is still waiting: the process is gone.
func (s *stdin) stop() {
	s.mu.Lock()
	s.breakLocked()
	s.mu.Unlock()
	_ = s.pipe.Close()
}

func (s *stdin) breakLocked() {
	s.broken, s.pending, s.waiting = true, nil, 0
	s.notifyLocked()
}

// writeAt takes data that belongs at a byte offset.
func (s *stdin) writeAt(ctx context.Context, offset uint64, data []byte, eof bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset > s.accepted {
		return status.Errorf(codes.OutOfRange, "stdin offset %d leaves a gap: the next byte is %d", offset, s.accepted)
	}
	seen := s.accepted - offset
	if seen >= uint64(len(data)) {
		data = nil
	} else {
		data = data[seen:]
	}
	return s.takeLocked(ctx, data, eof, uint64(len(data)))
}

// writeMessage takes the message with a number; the first one has 1.
func (s *stdin) writeMessage(ctx context.Context, number uint64, data []byte, eof bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case number > s.accepted+1:
		return status.Errorf(codes.OutOfRange, "stdin message %d leaves a gap: the next one is %d", number, s.accepted+1)
	case number <= s.accepted:
		return nil
	default:
		return s.takeLocked(ctx, data, eof, 1)
	}
}

func (s *stdin) takeLocked(ctx context.Context, data []byte, eof bool, advance uint64) error {
	before := s.accepted
	for len(data) > 0 && s.waiting > 0 && s.waiting+len(data) > stdinAhead && !s.broken {
		changed := s.changed
		s.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = status.FromContextError(ctx.Err()).Err()
		}
		s.mu.Lock()
		if err != nil {
			return err
		}
		if s.accepted != before { // a repetition of this call was faster
			return nil
		}
	}
	if len(data) > 0 {
		if s.broken || s.eof {
			return status.Error(codes.FailedPrecondition, "the process takes no more input")
		}
		s.pending = append(s.pending, data)
		s.waiting += len(data)
	}
	s.accepted += advance
	s.eof = s.eof || eof
	s.notifyLocked()
	return nil
}
