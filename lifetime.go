package seer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// FinalSnapshot is what SnapshotBeforeEnd saved; nil before that, or if it
// could not be saved. The error of Wait, the log and the event of
// [StepFinalSnapshot] tell of it too. It outlives Terminate.
func (s *Sandbox) FinalSnapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

// savesItself reports whether SnapshotBeforeEnd is this program's task.
func (s *Sandbox) savesItself() bool { return s.config.SnapshotBeforeEnd > 0 && !s.ends.IsZero() }

// awaitEnd saves and ends the sandbox as SnapshotBeforeEnd has it. The
// lifetime itself is the backend's to keep, whatever becomes of this program.
func (s *Sandbox) awaitEnd() {
	if !s.savesItself() {
		return
	}
	s.tasks.Go(func() {
		timer := time.NewTimer(time.Until(s.ends.Add(-s.config.SnapshotBeforeEnd)))
		defer timer.Stop()
		select {
		case <-timer.C:
			s.saveAndEnd(s.stopped)
		case <-s.stopped.Done():
		}
	})
}

func (s *Sandbox) saveAndEnd(ctx context.Context) {
	snapshot, err := s.saveLast(ctx)
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrTerminated)) {
		return // somebody else was faster
	}
	var cause error
	logger := s.opts.logger.With("sandbox", s.remote.ID())
	if err != nil {
		logger.ErrorContext(ctx, "the sandbox could not be saved before its end", "error", err)
		cause = fmt.Errorf("its lifetime is over, and it is not saved: %w: %w", err, ErrTerminated)
	} else {
		logger.InfoContext(ctx, "the sandbox was saved before its end", "snapshot", snapshot.ImageID)
		cause = fmt.Errorf("its lifetime is over; snapshot %s has its files: %w", snapshot.ImageID, ErrTerminated)
	}
	s.mu.Lock()
	s.final = snapshot
	s.cause = &TimeoutError{Op: "sandbox", Err: cause}
	s.mu.Unlock()

	ending, cancel := withGrace(ctx, endTimeout)
	defer cancel()
	if err := s.remote.Terminate(ending); err != nil {
		logger.WarnContext(ctx, "the sandbox goes on until its timeout", "error", publicError(err))
	}
}

// saveLast takes the final snapshot, for which there is time until the end.
func (s *Sandbox) saveLast(ctx context.Context) (*Snapshot, error) {
	began := time.Now()
	s.events.report(Event{Kind: EventStarted, Step: StepFinalSnapshot, Time: began})
	ctx, cancel := context.WithDeadline(ctx, s.ends)
	defer cancel()
	snapshot, err := s.Snapshot(ctx, "before the end of "+s.remote.ID())
	if err != nil {
		s.events.report(Event{Kind: EventFailed, Step: StepFinalSnapshot, Err: err, Elapsed: time.Since(began)})
		return nil, err
	}
	s.events.report(Event{Kind: EventDone, Step: StepFinalSnapshot, Text: snapshot.ImageID, Elapsed: time.Since(began)})
	return snapshot, nil
}
