package jupyter

import (
	"context"
	"fmt"
	"time"
)

// SaverOptions are the details of a [Saver]. The zero value is useful.
type SaverOptions struct {
	// Interval is how long after a change the notebook is saved, together
	// with what changed meanwhile. Zero means 250 ms. After a save that took
	// longer, the next one begins no sooner than that much later.
	Interval time.Duration
	// OnError is called when a save fails; it is tried again. Nil means that
	// only Flush and Close tell.
	OnError func(error)
}

// Saver keeps a copy of a notebook somewhere. One save runs at a time, and
// each saves the latest state.
type Saver struct {
	notebook *Notebook
	save     func(context.Context, []byte) error
	opts     SaverOptions
	changes  <-chan struct{}
	unwatch  func()
	stop     context.CancelFunc
	stopped  chan struct{}

	saving  chan struct{} // held while save runs; guards the next two
	saved   bool          // at least once
	version uint64        // that was saved last
}

// NewSaver calls save with the content of the notebook's file soon after each
// change, beginning with the present state.
func NewSaver(n *Notebook, save func(ctx context.Context, data []byte) error, opts *SaverOptions) *Saver {
	ctx, stop := context.WithCancel(context.Background())
	s := &Saver{
		notebook: n,
		save:     save,
		stop:     stop,
		stopped:  make(chan struct{}),
		saving:   make(chan struct{}, 1),
	}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Interval == 0 {
		s.opts.Interval = 250 * time.Millisecond
	}
	s.changes, s.unwatch = n.watch()
	go s.run(ctx)
	return s
}

// Flush saves what has changed and returns when it is saved.
func (s *Saver) Flush(ctx context.Context) error {
	select {
	case s.saving <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("save notebook: %w", ended(ctx))
	}
	defer func() { <-s.saving }()
	if s.saved && s.version == s.notebook.currentVersion() {
		return nil
	}
	data, version := s.notebook.encode()
	if err := s.save(ctx, data); err != nil {
		return fmt.Errorf("save notebook: %w", err)
	}
	s.saved, s.version = true, version
	return nil
}

// Close ends the Saver, after saving what has changed. A save that is in
// flight is cancelled and made again. Close may be called again.
func (s *Saver) Close(ctx context.Context) error {
	s.unwatch()
	s.stop()
	select {
	case <-s.stopped:
	case <-ctx.Done():
		return fmt.Errorf("save notebook: %w", ended(ctx))
	}
	return s.Flush(ctx)
}

func (s *Saver) run(ctx context.Context) {
	defer close(s.stopped)
	const longest = 30 * time.Second
	wait := s.opts.Interval
	for {
		start := time.Now()
		err := s.Flush(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(2*wait, longest)
			if s.opts.OnError != nil {
				s.opts.OnError(err)
			}
		default:
			end := time.Now()
			select {
			case <-s.changes:
			case <-ctx.Done():
				return
			}
			wait = max(s.opts.Interval, end.Sub(start)-time.Since(end))
		}
		pause := backoff{next: wait, limit: wait}
		if pause.sleep(ctx) != nil {
			return
		}
	}
}
