package seer

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// step is a node of the dependency graph that Start runs. It begins as soon
// as everything it needs is done.
type step struct {
	name  string
	needs []string
	run   func(ctx context.Context, log func(line string)) (remark string, err error)
}

// runSteps runs a graph, as much of it side by side as the needs allow. The
// first failure cancels the rest and is returned as a *StartError; every step
// has returned by then.
func runSteps(ctx context.Context, events *reporter, steps []step) error {
	done := make(map[string]chan struct{}, len(steps))
	for _, s := range steps {
		done[s.name] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	left := make(chan error, len(steps)) // those that have not begun; whoever runs knows better why it ends
	for _, s := range steps {
		group.Go(func() error {
			for _, need := range s.needs {
				select {
				case <-done[need]:
				case <-ctx.Done():
					left <- &StartError{Step: s.name, Err: context.Cause(ctx)}
					return nil
				}
			}
			began := time.Now()
			events.report(Event{Kind: EventStarted, Step: s.name, Time: began})
			log := func(line string) { events.output(s.name, line) }
			remark, err := s.run(modalclient.WithNews(ctx, log), log)
			if err != nil {
				events.report(Event{Kind: EventFailed, Step: s.name, Err: err, Elapsed: time.Since(began)})
				return &StartError{Step: s.name, Err: err}
			}
			events.report(Event{Kind: EventDone, Step: s.name, Text: remark, Elapsed: time.Since(began)})
			close(done[s.name])
			return nil
		})
	}
	if err := group.Wait(); err != nil || len(left) == 0 {
		return err
	}
	return <-left
}
