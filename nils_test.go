package seer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// A sandbox that is nil, most often because nobody looked at Start's error, is
// told with an error wherever it is used.
func TestANilSandboxIsAnError(t *testing.T) {
	ctx := t.Context()
	for name, sandbox := range map[string]*seer.Sandbox{"nil": nil, "not started": seer.NewSandbox(seer.SandboxConfig{})} {
		for what, use := range map[string]func() error{
			"cli session":      func() error { _, err := seer.NewCLISession(ctx, sandbox, nil, nil); return err },
			"notebook session": func() error { _, err := seer.NewNotebookSession(ctx, sandbox, nil, nil); return err },
			"exec":             func() error { _, err := sandbox.Exec(ctx, "true"); return err },
			"command":          func() error { return sandbox.Command("true").Run(ctx) },
			"write":            func() error { return sandbox.WriteFile(ctx, "/x", nil) },
			"read":             func() error { _, err := sandbox.ReadFile(ctx, "/x"); return err },
			"upload":           func() error { return sandbox.Upload(ctx, t.TempDir(), "/x") },
			"download":         func() error { return sandbox.Download(ctx, "/x", t.TempDir()) },
			"snapshot":         func() error { _, err := sandbox.Snapshot(ctx, ""); return err },
			"URL":              func() error { _, err := sandbox.URL(ctx, 1); return err },
			"wait":             func() error { return sandbox.Wait(ctx) },
		} {
			assert.ErrorIs(t, use(), seer.ErrNotStarted, "%s of a sandbox that is %s", what, name)
		}
		require.NoError(t, sandbox.Close())
	}
	var none *seer.Sandbox
	require.NoError(t, none.Terminate(ctx))
	_, err := none.Start(ctx)
	require.ErrorContains(t, err, "NewSandbox")
	assert.ErrorIs(t, (&seer.Cmd{Args: []string{"true"}}).Run(ctx), seer.ErrNotStarted)
	_, err = seer.FromSnapshot(ctx, nil, seer.SandboxConfig{})
	require.ErrorContains(t, err, "restore snapshot")
	_, err = seer.ScopedFromSnapshot(ctx, nil, seer.SandboxConfig{})
	require.ErrorContains(t, err, "restore snapshot")
	_, err = seer.FromID(ctx, "")
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.ErrorContains(t, err, "no ID given")
}
