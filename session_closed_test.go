package seer_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// assertClosed uses a session that was closed in every way.
func assertClosed(t *testing.T, session interface {
	seer.Session
	Interrupt(ctx context.Context) error
	Restart(ctx context.Context) error
}) {
	t.Helper()
	_, err := session.Exec(t.Context(), "1")
	for use, err := range map[string]error{
		"exec":      err,
		"setup":     session.Setup(t.Context(), nil),
		"interrupt": session.Interrupt(t.Context()),
		"restart":   session.Restart(t.Context()),
	} {
		assert.ErrorContains(t, err, ": session is closed", use)
	}
	assert.Nil(t, session.MCPConfig())
}

func TestClosedSessions(t *testing.T) {
	t.Parallel()
	local, err := seer.NewLocalSession(t.Context(), nil, t.TempDir(), nil)
	require.NoError(t, err)
	closeSession(t, local)
	assertClosed(t, local)
	file := write(t, map[string]string{"late.txt": "too late"})
	require.Error(t, local.Setup(t.Context(), &seer.Workspace{LocalFiles: []seer.Mount{{Source: filepath.Join(file, "late.txt"), Target: "late.txt"}}}))
	assert.NoFileExists(t, filepath.Join(local.WorkspacePath(), "late.txt"))

	cli, err := seer.NewCLISession(t.Context(), startSandbox(t, seer.SandboxConfig{}), nil, nil)
	require.NoError(t, err)
	closeSession(t, cli)
	assertClosed(t, cli)
	_, err = cli.Shell(t.Context(), "true")
	require.ErrorContains(t, err, ": session is closed")
}

func testClosedNotebook(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{Name: "closed"})
	dir := t.TempDir()
	_, err := seer.NewNotebookSession(t.Context(), sandbox, nil, &seer.NotebookOptions{Name: "closed", OutputDir: dir})
	require.ErrorIs(t, err, os.ErrExist, "one name is one notebook in the sandbox")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "a session that did not begin leaves no file")

	cell, err := session.AddMarkdown("# Notes")
	require.NoError(t, err)
	closeSession(t, session)
	assertClosed(t, session)
	_, err = session.ExecHidden(t.Context(), "1")
	require.ErrorContains(t, err, ": session is closed")
	_, err = session.AddMarkdown("# More")
	require.ErrorContains(t, err, ": session is closed")
	_, err = session.EditCell(t.Context(), cell.ID, "# Other")
	require.ErrorContains(t, err, ": session is closed")
}
