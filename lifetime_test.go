package seer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// timeoutOnWire is the lifetime that the backend was told, which keeps it.
func timeoutOnWire(t *testing.T, server *seertest.Server) time.Duration {
	t.Helper()
	var created struct {
		Definition struct{ TimeoutSecs int }
	}
	for _, call := range server.Calls() {
		if call.RPC == "SandboxCreate" {
			require.NoError(t, json.Unmarshal([]byte(call.Request), &created))
		}
	}
	return time.Duration(created.Definition.TimeoutSecs) * time.Second
}

func TestTheLowestCapShortensTheTimeout(t *testing.T) {
	dollarASecond := seer.WithPrices(seer.Prices{AsOf: "2030-01", Source: "here", CPU: 0.5})
	for name, c := range map[string]struct {
		config seer.SandboxConfig
		opts   []seer.Option
		want   time.Duration
	}{
		"default":      {seer.SandboxConfig{}, nil, time.Hour},
		"budget":       {seer.SandboxConfig{CPU: 2, Budget: 90.75}, []seer.Option{dollarASecond}, 90 * time.Second},
		"rich":         {seer.SandboxConfig{CPU: 2, Budget: 1e9}, []seer.Option{dollarASecond}, time.Hour},
		"lifetime":     {seer.SandboxConfig{CPU: 2, Budget: 90, MaxLifetime: time.Minute}, []seer.Option{dollarASecond}, time.Minute},
		"timeout":      {seer.SandboxConfig{CPU: 2, Budget: 90, Timeout: 30 * time.Second}, []seer.Option{dollarASecond}, 30 * time.Second},
		"free backend": {seer.SandboxConfig{CPU: 2, Budget: 0.01}, nil, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			server := quietServer(t)
			startOn(t, server, c.config, c.opts...)
			assert.Equal(t, c.want, timeoutOnWire(t, server))
			plan, err := c.config.Plan(t.Context(), append(c.opts, seer.WithBackend(server.Backend()))...)
			require.NoError(t, err)
			assert.Equal(t, c.want, plan.Timeout)
		})
	}

	_, err := seer.NewSandbox(seer.SandboxConfig{CPU: 2, Budget: 0.5}, dollarASecond, seer.WithBackend(quietServer(t).Backend())).Start(t.Context())
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
	assert.Equal(t, "Budget", bad.Problems[0].Field)
}

func TestBudgetByListPrices(t *testing.T) {
	config := seer.SandboxConfig{GPU: "H100", GPUCount: 2, CPU: 4, MemoryMiB: 8192, Budget: 1, Timeout: 24 * time.Hour}
	plan, err := config.Plan(t.Context(), seer.WithBackend(seer.Modal()))
	require.NoError(t, err)
	assert.Equal(t, 415*time.Second, plan.Timeout, "1 / (2*0.001097 + 4*0.00003942 + 8*0.00000672)")
	assert.InDelta(t, 1, plan.Cost.Most, 0.01)
}

func TestALifetimeNeedsNoProgram(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	id, kill := startForgetful(t, server, "-1s", forgetfulLife+"=4s")
	kill()
	sandbox, err := seer.FromID(t.Context(), id, seer.WithBackend(server.Backend()), seer.WithLease(-1))
	if err == nil {
		t.Cleanup(func() { terminate(t, sandbox) })
		err = sandbox.Wait(within(t, patience))
		assert.Nil(t, sandbox.FinalSnapshot(), "the program that would have made it is gone")
	}
	var timeout *seer.TimeoutError
	require.ErrorAs(t, err, &timeout)
	assert.Empty(t, server.Sandboxes())
}

// nearItsEnd starts a sandbox whose end is an hour away and its snapshot due.
func nearItsEnd(t *testing.T, server *seertest.Server, opts ...seer.Option) *seer.Sandbox {
	t.Helper()
	file := filepath.Join(write(t, map[string]string{"result": "kept"}), "result")
	return startOn(t, server, seer.SandboxConfig{
		LocalFiles:        []seer.Mount{{Source: file, Target: "/workspace/result"}},
		MaxLifetime:       time.Hour,
		SnapshotBeforeEnd: time.Hour - time.Second,
	}, opts...)
}

func TestASandboxIsSavedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	var mu sync.Mutex
	var events []seer.Event
	var log bytes.Buffer
	sandbox := nearItsEnd(t, server, seer.WithLogger(slog.New(slog.NewTextHandler(&lockedBuffer{mu: &mu, b: &log}, nil))),
		seer.WithProgress(func(e seer.Event) {
			if e.Step == seer.StepFinalSnapshot {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			}
		}))
	err := sandbox.Wait(within(t, patience))
	var timeout *seer.TimeoutError
	require.ErrorAs(t, err, &timeout)
	require.ErrorIs(t, err, seer.ErrTerminated)
	snapshot := sandbox.FinalSnapshot()
	require.NotNil(t, snapshot)
	assert.ErrorContains(t, err, snapshot.ImageID)
	_, execErr := sandbox.Exec(t.Context(), "true")
	require.ErrorContains(t, execErr, snapshot.ImageID, "calls say it too")
	assert.Empty(t, server.Sandboxes())
	terminate(t, sandbox)
	assert.Same(t, snapshot, sandbox.FinalSnapshot())
	mu.Lock()
	require.Len(t, events, 2)
	assert.Equal(t, []seer.EventKind{seer.EventStarted, seer.EventDone}, []seer.EventKind{events[0].Kind, events[1].Kind})
	assert.Equal(t, snapshot.ImageID, events[1].Text)
	assert.Contains(t, log.String(), snapshot.ImageID)
	mu.Unlock()

	restored, err := seer.FromSnapshot(t.Context(), snapshot, seer.SandboxConfig{}, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	kept, err := restored.ReadFile(t.Context(), "/workspace/result")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(kept))
}

func TestASandboxThatCannotBeSavedEndsAllTheSame(t *testing.T) { // D8
	t.Parallel()
	server := seertest.NewServer(t)
	server.Fail("SandboxSnapshotFs", errors.New("injected"), 1)
	sandbox := nearItsEnd(t, server)
	err := sandbox.Wait(within(t, patience))
	require.ErrorIs(t, err, seer.ErrTerminated)
	require.ErrorContains(t, err, "injected")
	assert.Nil(t, sandbox.FinalSnapshot())
	assert.Empty(t, server.Sandboxes())
}

func TestTerminateDuringTheFinalSnapshot(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	server.Delay("SandboxSnapshotFs", time.Hour)
	saving := make(chan struct{})
	sandbox := nearItsEnd(t, server, seer.WithProgress(func(e seer.Event) {
		if e.Step == seer.StepFinalSnapshot && e.Kind == seer.EventStarted {
			close(saving)
		}
	}))
	<-saving
	terminate(t, sandbox)
	err := sandbox.Wait(context.Background())
	require.ErrorContains(t, err, "by this program")
	assert.Nil(t, sandbox.FinalSnapshot())
}

func TestAClosedSandboxIsNotSaved(t *testing.T) {
	server := seertest.NewServer(t)
	var mu sync.Mutex
	var log bytes.Buffer
	closed := startClosed(t, server, seer.SandboxConfig{SnapshotBeforeEnd: time.Minute},
		seer.WithLogger(slog.New(slog.NewTextHandler(&lockedBuffer{mu: &mu, b: &log}, nil))))
	mu.Lock()
	assert.Contains(t, log.String(), "not saved before its end")
	mu.Unlock()
	endClosed(t, server, closed.SandboxID())
	assert.Nil(t, closed.FinalSnapshot())
}
