package seer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// Fleet is what [StartAll] started: a member for each config, in their order.
type Fleet []Member

// Member is one sandbox of a fleet.
type Member struct {
	Sandbox *Sandbox // nil = Start failed
	Err     error    // why
}

// StartAll starts a sandbox for each config, at most concurrency of them at a
// time (0 = 16). What several need is prepared once: an image is built by the
// first, a model downloaded by the first. One failure stops no other. The
// error joins what went wrong, each with its index; those that did start are
// in the fleet and run: [Fleet.Terminate] undoes all.
func StartAll(ctx context.Context, configs []SandboxConfig, concurrency int, opts ...Option) (Fleet, error) {
	if concurrency <= 0 {
		concurrency = sideBySide
	}
	fleet := make(Fleet, len(configs))
	images := &imageShare{ctx: ctx, images: map[string]*sharedImage{}}
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, config := range configs {
		group.Go(func() error {
			s := NewSandbox(config, opts...)
			s.images = images
			fleet[i].Sandbox, fleet[i].Err = s.Start(ctx)
			return nil
		})
	}
	_ = group.Wait() // the errors are the members'
	return fleet, fleet.err()
}

// Sandboxes are those of the fleet that started.
func (f Fleet) Sandboxes() []*Sandbox {
	var started []*Sandbox
	for _, member := range f {
		if member.Sandbox != nil {
			started = append(started, member.Sandbox)
		}
	}
	return started
}

// Terminate ends every sandbox of the fleet, side by side, as
// [Sandbox.Terminate] does. The error joins a *[SandboxError] for each that
// could not be ended.
func (f Fleet) Terminate(ctx context.Context) error {
	sandboxes := f.Sandboxes()
	errs := make([]error, len(sandboxes))
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for i, s := range sandboxes {
		group.Go(func() error {
			if err := s.Terminate(ctx); err != nil {
				errs[i] = &SandboxError{SandboxID: s.SandboxID(), Err: err}
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}

func (f Fleet) err() error {
	var errs []error
	for i, member := range f {
		if member.Err != nil {
			errs = append(errs, fmt.Errorf("sandbox %d of %d: %w", i+1, len(f), member.Err))
		}
	}
	return errors.Join(errs...)
}

// imageShare builds each distinct image of a fleet once.
type imageShare struct {
	ctx context.Context //nolint:containedctx // a build outlives the sandbox that began it, but not its StartAll

	mu     sync.Mutex
	images map[string]*sharedImage
}

type sharedImage struct {
	done chan struct{}
	id   string
	err  error
}

// build runs the build unless another sandbox of the fleet has begun the same
// one; then it waits for that. A nil share shares nothing.
func (s *imageShare) build(ctx context.Context, base string, layers []modalclient.Layer, build func(context.Context) (string, error)) (string, error) {
	if s == nil {
		return build(ctx)
	}
	key, err := json.Marshal([]any{base, layers})
	if err != nil {
		return "", fmt.Errorf("compare images: %w", err)
	}
	s.mu.Lock()
	image, begun := s.images[string(key)]
	if !begun {
		image = &sharedImage{done: make(chan struct{})}
		s.images[string(key)] = image
	}
	s.mu.Unlock()
	if !begun {
		defer close(image.done)
		image.id, image.err = build(s.ctx)
		return image.id, image.err
	}
	select {
	case <-image.done:
		return image.id, image.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
