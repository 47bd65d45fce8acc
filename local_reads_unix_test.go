//go:build unix

package seer

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFilesOfAWorkspaceAreReadWarily gives every call that reads a file of this
// machine whole what an agent may have put in its place.
func TestFilesOfAWorkspaceAreReadWarily(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret-of-the-owner"), 0o600))
	require.NoError(t, syscall.Mkfifo(at("pipe.py"), 0o600))
	require.NoError(t, os.Symlink("pipe.py", at("to_pipe.py")))
	require.NoError(t, os.Symlink(outside, at("out.py")))
	require.NoError(t, os.Symlink("../../../../../../../../dev/zero", at("zero.py")))
	require.NoError(t, os.Mkdir(at("dir.py"), 0o700))
	require.NoError(t, os.WriteFile(at("sparse.py"), nil, 0o600))
	require.NoError(t, os.Truncate(at("sparse.py"), 1<<40))
	require.NoError(t, os.WriteFile(at("good.py"), []byte(`"""Good."""`), 0o600))
	require.NoError(t, os.Symlink("good.py", at("also.py")))

	readers := map[string]func(ctx context.Context, path string) error{
		"resume": func(ctx context.Context, path string) error {
			_, err := NewLocalNotebookSession(ctx, nil, &LocalNotebookOptions{Dir: t.TempDir(), NotebookOptions: NotebookOptions{Resume: path}})
			return err
		},
		"fork": func(ctx context.Context, path string) error {
			_, err := NewLocalNotebookSession(ctx, nil, &LocalNotebookOptions{Dir: t.TempDir(), NotebookOptions: NotebookOptions{Fork: path, OutputDir: t.TempDir()}})
			return err
		},
		"run":     func(ctx context.Context, path string) error { _, err := (&notebook{}).ExecFile(ctx, path); return err },
		"library": func(_ context.Context, path string) error { _, err := LibraryFromFile(path); return err },
	}
	for name, read := range readers {
		for _, bad := range []string{"pipe.py", "to_pipe.py", "out.py", "zero.py", "dir.py", "sparse.py"} {
			err := read(t.Context(), at(bad))
			require.Error(t, err, "%s %s", name, bad)
			assert.NotContains(t, err.Error(), "secret-of-the-owner", "%s %s", name, bad)
		}
	}
	for _, good := range []string{"good.py", "also.py"} {
		_, err := LibraryFromFile(at(good))
		require.NoError(t, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	require.ErrorIs(t, readers["resume"](ended, at("good.py")), context.Canceled)
}
