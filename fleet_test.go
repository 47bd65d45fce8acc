package seer_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func list(t *testing.T, filter seer.Filter, opts ...seer.Option) []seer.Info {
	t.Helper()
	var all []seer.Info
	for info, err := range seer.List(t.Context(), filter, opts...) {
		require.NoError(t, err)
		all = append(all, info)
	}
	return all
}

func TestListTellsWhoStartedWhat(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	red := startOn(t, server, seer.SandboxConfig{Tags: map[string]string{"team": "red"}})
	blue := startOn(t, server, seer.SandboxConfig{Tags: map[string]string{"team": "blue"}}, seer.WithLease(-1))
	closed := startClosed(t, server, seer.SandboxConfig{})

	all := list(t, seer.Filter{}, backend)
	require.Len(t, all, 3)
	assert.Equal(t, []string{closed.SandboxID(), blue.SandboxID(), red.SandboxID()}, []string{all[0].ID, all[1].ID, all[2].ID}, "newest first")
	assert.True(t, all[0].Detached)
	assert.Empty(t, all[0].Tags)
	assert.Zero(t, all[1].Lease)
	info := all[2]
	assert.Equal(t, seer.CurrentOwner(), info.Owner)
	program, err := os.Executable()
	require.NoError(t, err)
	assert.Equal(t, filepath.Base(program), info.Program)
	assert.Equal(t, map[string]string{"team": "red"}, info.Tags)
	assert.Equal(t, 5*time.Minute, info.Lease)
	assert.False(t, info.Detached)
	assert.WithinDuration(t, time.Now(), info.CreatedAt, time.Minute)
	assert.Len(t, info.ConfigHash, 12)
	assert.NotEqual(t, info.ConfigHash, all[1].ConfigHash)

	text, err := json.Marshal(info)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"lease":"5m"`)
	var again seer.Info
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, info.Lease, again.Lease)
	assert.Equal(t, info.Tags, again.Tags)

	for name, c := range map[string]struct {
		filter seer.Filter
		want   []string
	}{
		"tag":            {seer.Filter{Tags: map[string]string{"team": "blue"}}, []string{blue.SandboxID()}},
		"owner":          {seer.Filter{Owner: seer.CurrentOwner()}, []string{closed.SandboxID(), blue.SandboxID(), red.SandboxID()}},
		"other owner":    {seer.Filter{Owner: "somebody-at-else"}, nil},
		"program":        {seer.Filter{Program: "another"}, nil},
		"config":         {seer.Filter{ConfigHash: info.ConfigHash}, []string{red.SandboxID()}},
		"too young":      {seer.Filter{OlderThan: time.Hour}, nil},
		"tag and config": {seer.Filter{ConfigHash: info.ConfigHash, Tags: map[string]string{"team": "blue"}}, nil},
	} {
		var got []string
		for _, info := range list(t, c.filter, backend) {
			got = append(got, info.ID)
		}
		assert.Equal(t, c.want, got, name)
	}
	assert.Empty(t, list(t, seer.Filter{}, backend, seer.WithAppName("another-app")))
	require.NoError(t, seer.TerminateAll(t.Context(), []string{closed.SandboxID()}, backend))
}

func TestTerminateAllTriesEveryone(t *testing.T) {
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	first, second := startOn(t, server, seer.SandboxConfig{}), startOn(t, server, seer.SandboxConfig{})
	const unknown = "sb-nothing0000000000000000"
	err := seer.TerminateAll(t.Context(), []string{first.SandboxID(), unknown, second.SandboxID(), first.SandboxID()}, backend)
	var failed *seer.SandboxError
	require.ErrorAs(t, err, &failed)
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.Equal(t, unknown, failed.SandboxID)
	assert.NotContains(t, err.Error(), first.SandboxID())
	assert.Empty(t, server.Sandboxes())
}

// TestTerminateAllReleasesTheServer: a server that only closed sandboxes kept
// up goes with them.
func TestTerminateAllReleasesTheServer(t *testing.T) {
	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	released := 0
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		endpoint := server.Endpoint()
		endpoint.Release = func() error { released++; return nil }
		return endpoint, nil
	}, nil)
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(t.Context())
	require.NoError(t, err)
	require.NoError(t, sandbox.Close())
	assert.Zero(t, released)
	require.NoError(t, seer.TerminateAll(t.Context(), []string{sandbox.SandboxID()}, seer.WithBackend(backend)))
	assert.Equal(t, 1, released)
}

func TestStartAllPreparesEachThingOnce(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	same := seer.SandboxConfig{SetupCommands: []string{"date +%N >/built"}}
	other := seer.SandboxConfig{SetupCommands: []string{"date +%N >/other"}}
	broken := seer.SandboxConfig{SetupCommands: []string{"echo no luck; exit 3"}}
	invalid := seer.SandboxConfig{Timeout: -1}
	fleet, err := seer.StartAll(t.Context(), []seer.SandboxConfig{same, broken, same, other, invalid, same, broken}, 4, backend)

	var build *seer.BuildError
	require.ErrorAs(t, err, &build)
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
	require.ErrorContains(t, err, "sandbox 5 of 7: invalid config")
	require.Len(t, fleet, 7)
	assert.Len(t, fleet.Sandboxes(), 4)
	for i, started := range []bool{true, false, true, true, false, true, false} {
		assert.Equal(t, started, fleet[i].Sandbox != nil, i)
		assert.Equal(t, started, fleet[i].Err == nil, i)
	}
	builds := 0
	for _, call := range server.Calls() {
		if call.RPC == "ImageGetOrCreate" {
			builds++
		}
	}
	assert.Equal(t, 3, builds, "one for each distinct image")
	want, err := fleet[0].Sandbox.Exec(t.Context(), "cat /built")
	require.NoError(t, err)
	got, err := fleet[5].Sandbox.Exec(t.Context(), "cat /built")
	require.NoError(t, err)
	assert.Equal(t, want, got)

	require.NoError(t, fleet.Terminate(t.Context()))
	require.NoError(t, fleet.Terminate(t.Context()), "is idempotent")
	assert.Empty(t, server.Sandboxes())
}

func TestStartAllCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	server.Delay("SandboxCreate", 200*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	fleet, err := seer.StartAll(ctx, make([]seer.SandboxConfig, 5), 2, seer.WithBackend(server.Backend()),
		seer.WithProgress(func(e seer.Event) {
			if e.Kind == seer.EventStarted && e.Step == "create sandbox" {
				cancel()
			}
		}))
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, fleet.Sandboxes())
	assert.Empty(t, server.Sandboxes())
}

func TestFleetTerminateTellsWhatItCouldNotEnd(t *testing.T) {
	server := seertest.NewServer(t)
	fleet, err := seer.StartAll(t.Context(), make([]seer.SandboxConfig, 2), 0, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	server.Fail("SandboxTerminate", errors.New("injected"), 1)
	err = fleet.Terminate(t.Context())
	var failed *seer.SandboxError
	require.ErrorAs(t, err, &failed)
	assert.ErrorContains(t, err, "injected")
	assert.Equal(t, []string{failed.SandboxID}, server.Sandboxes())
	require.NoError(t, fleet.Terminate(t.Context()), "may be tried again")
}

func TestAnAppThatNobodyMadeHasNoSandboxes(t *testing.T) {
	server := seertest.NewServer(t)
	opts := []seer.Option{seer.WithBackend(server.Backend()), seer.WithAppName("nobody-made-this")}
	assert.Empty(t, list(t, seer.Filter{}, opts...))
	orphans, err := seer.Orphans(t.Context(), opts...)
	require.NoError(t, err)
	assert.Empty(t, orphans)
	ended, err := seer.Reap(t.Context(), opts...)
	require.NoError(t, err)
	assert.Empty(t, ended)
	for _, call := range server.Calls() {
		assert.NotContains(t, string(call.Request), "CREATE", "%s makes nothing", call.RPC)
		assert.NotEqual(t, "SandboxList", call.RPC)
	}
	server.Fail("AppGetOrCreate", errors.New("injected"), 1)
	_, err = seer.Reap(t.Context(), opts...)
	require.ErrorContains(t, err, "injected", "an app that cannot be asked about is an error")
}
