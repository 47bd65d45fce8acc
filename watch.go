package seer

import (
	"context"
	"fmt"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// leaseExitCode is how scripts/watchdog.sh ends when the lease has run out, and
// what a server says that keeps it itself.
const leaseExitCode = 75

// watch learns of the sandbox's end. It starts with the first one who asks.
type watch struct {
	start sync.Once
	done  chan struct{}
}

func newWatch() *watch { return &watch{done: make(chan struct{})} }

// Done is closed when the sandbox has ended, for whatever reason. For a
// sandbox that is not running it is closed already.
func (s *Sandbox) Done() <-chan struct{} {
	s.mu.Lock()
	w, running := s.watch, s.phase == phaseRunning
	s.mu.Unlock()
	if w == nil || !running {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	w.start.Do(func() { s.tasks.Go(func() { s.watchEnd(w) }) })
	return w.done
}

// Wait waits until the sandbox has ended and says why: the error matches
// [ErrTerminated], and *[TimeoutError] when its Timeout or IdleTimeout ended
// it. When ctx ends first, Wait returns ctx's error.
func (s *Sandbox) Wait(ctx context.Context) error {
	if _, err := s.running(); err != nil {
		return err
	}
	select {
	case <-s.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.cause
	case <-ctx.Done():
		return s.callError("wait for sandbox", ctx.Err())
	}
}

func (s *Sandbox) watchEnd(w *watch) {
	defer close(w.done)
	exit, err := s.remote.Wait(s.stopped)
	if s.stopped.Err() != nil {
		return // Terminate or Close said why
	}
	if err != nil {
		err = publicError(err)
	} else {
		err = endError(exit)
	}
	s.mu.Lock()
	if s.cause == nil {
		s.cause = err
	}
	s.mu.Unlock()
}

// endCause says why the sandbox ended, as this program knows it if it was
// this program that ended it.
func (s *Sandbox) endCause(exit modalclient.Exit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return endError(exit)
}

// errDied is the end of a sandbox that nobody asked for and no limit brought.
var errDied = &translatedError{err: ErrTerminated, as: ErrSandboxLost}

// endError says why a sandbox ended.
func endError(exit modalclient.Exit) error {
	switch {
	case exit.Reason == modalclient.ReasonTimeout:
		return &TimeoutError{Op: "sandbox", Err: fmt.Errorf("its Timeout ended it: %w", ErrTerminated)}
	case exit.Reason == modalclient.ReasonIdleTimeout:
		return &TimeoutError{Op: "sandbox", Err: fmt.Errorf("its IdleTimeout ended it: %w", ErrTerminated)}
	case exit.Reason == modalclient.ReasonExited && exit.Code == leaseExitCode:
		return fmt.Errorf("its lease ran out: %w", ErrTerminated)
	case exit.Reason == modalclient.ReasonExited:
		return fmt.Errorf("its command ended with exit status %d: %w", exit.Code, errDied)
	case exit.Reason == modalclient.ReasonTerminated:
		return fmt.Errorf("it was terminated from outside: %w", ErrTerminated)
	case exit.Reason == modalclient.ReasonMemory && exit.Message != "":
		return fmt.Errorf("out of memory: raise MemoryMiB (%s): %w", exit.Message, errDied)
	case exit.Reason == modalclient.ReasonMemory:
		return fmt.Errorf("out of memory: raise MemoryMiB: %w", errDied)
	default:
		return fmt.Errorf("the backend gave it up (%s): %w", exit.Message, errDied)
	}
}
