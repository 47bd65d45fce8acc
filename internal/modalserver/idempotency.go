package modalserver

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// callMemory is how long a retried call still meets the answer of the first.
const callMemory = 10 * time.Minute

// createsOnce tells the calls that would leave something behind twice when a
// client repeats them.
func createsOnce(method string) bool {
	return slices.Contains([]string{
		"ContainerFilesystemExec", "ImageGetOrCreate", "SandboxCreate", "SandboxCreateV2", "SandboxSnapshotFs",
		"SecretGetOrCreate", "VolumeGetOrCreate", "MountGetOrCreate",
	}, method)
}

// callBook remembers the answers of calls by their idempotency key.
type callBook struct {
	mu    sync.Mutex
	calls map[string]*rememberedCall
}

type rememberedCall struct {
	done   chan struct{}
	answer any
	err    error
	ended  time.Time // zero while it runs; guarded by the book's mutex
}

func newCallBook() *callBook { return &callBook{calls: map[string]*rememberedCall{}} }

// once runs a call to its end even when its caller goes away, and gives
// everybody who calls with the same idempotency key the one answer.
func (s *Server) once(ctx context.Context, method string, run func(context.Context) (any, error)) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	keys := md.Get("x-idempotency-key")
	if len(keys) == 0 {
		return run(ctx)
	}
	key := method + "/" + keys[len(keys)-1]
	b := s.calls
	b.mu.Lock()
	call, known := b.calls[key]
	if !known {
		call = &rememberedCall{done: make(chan struct{})}
		b.calls[key] = call
	}
	b.mu.Unlock()
	if !known {
		detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(s.ctx, cancel)
		started := s.begin(func() {
			defer cancel()
			defer stop()
			call.answer, call.err = run(detached)
			b.mu.Lock()
			call.ended = time.Now()
			b.mu.Unlock()
			close(call.done)
		})
		if !started {
			cancel()
			call.err = errClosing()
			close(call.done)
		}
	}
	select {
	case <-call.done:
		return call.answer, call.err
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (b *callBook) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, call := range b.calls {
		if !call.ended.IsZero() && now.Sub(call.ended) > callMemory {
			delete(b.calls, key)
		}
	}
}
