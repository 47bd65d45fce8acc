package seer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// startNotebook starts a session that ends with the test.
func startNotebook(t *testing.T, sandbox *seer.Sandbox, workspace *seer.Workspace, opts seer.NotebookOptions) *seer.NotebookSession {
	t.Helper()
	if opts.OutputDir == "" && opts.Resume == "" {
		opts.OutputDir = t.TempDir()
	}
	session, err := seer.NewNotebookSession(within(t, 5*time.Minute), sandbox, workspace, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { closeSession(t, session) })
	return session
}

func TestNotebookOnTheSpot(t *testing.T) {
	sandbox := startSandbox(t, seer.SandboxConfig{})
	assert.Empty(t, sandbox.JupyterURL())
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	result, err := session.Exec(within(t, time.Minute), "print('hi')\n6*7")
	require.NoError(t, err)
	assert.Equal(t, "hi\n42", result.Text())
	t.Log(sandbox.JupyterURL() != "", session.NotebookPath())
}

func closeSession(t *testing.T, session seer.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	require.NoError(t, session.Close(ctx))
}
