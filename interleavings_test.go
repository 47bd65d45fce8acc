package seer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// TestInterleavings starts sandboxes, gives up on some at any moment and ends
// the rest from several goroutines at once: none is left.
func TestInterleavings(t *testing.T) {
	lives := 1000
	if testing.Short() {
		lives = 100
	}
	running := goleak.IgnoreCurrent()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	t.Run("lives", func(t *testing.T) {
		server := seertest.NewServer(t)
		server.HandleExec(func(e seertest.Exec) seertest.Result {
			<-e.Context.Done()
			return seertest.Result{}
		})
		var all sync.WaitGroup
		turns := make(chan struct{}, 16)
		for i := range lives {
			all.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				interleave(t, server, rand.New(rand.NewPCG(seed, uint64(i))))
			})
		}
		all.Wait()
		assert.Empty(t, server.Sandboxes())
	})
	goleak.VerifyNone(t, running)
}

// interleave is a life in which anything may come at any time.
func interleave(t *testing.T, server *seertest.Server, random *rand.Rand) {
	soon := func() time.Duration { return time.Duration(random.IntN(20_000)) * time.Microsecond }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sandbox := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend()))

	var others sync.WaitGroup
	later := func(do func()) {
		pause := soon()
		others.Go(func() {
			time.Sleep(pause)
			do()
		})
	}
	if random.IntN(3) > 0 {
		later(cancel)
	}
	// Refused while Start runs; the end of the sandbox before or after it.
	for range random.IntN(3) {
		later(func() { _ = sandbox.Terminate(ctx) })
	}
	if random.IntN(2) > 0 {
		later(func() {
			_, err := sandbox.Exec(ctx, "until it is killed")
			assert.Error(t, err)
		})
	}
	_, err := sandbox.Start(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		assert.ErrorContains(t, err, "already started", "nothing else stands in its way")
	}
	later(cancel)
	later(func() { assert.NoError(t, sandbox.Terminate(ctx)) })
	later(func() { assert.NoError(t, sandbox.Terminate(t.Context())) })
	others.Wait()
	assert.NoError(t, sandbox.Terminate(t.Context()))
}
