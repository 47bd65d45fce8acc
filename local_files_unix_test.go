//go:build unix

package seer

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLocalToolsTakeRegularFiles gives the file tools what would keep them waiting.
func TestLocalToolsTakeRegularFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tools := localTools{&LocalSession{place: localPlace{dir: dir}}}
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	require.NoError(t, os.Symlink("pipe", filepath.Join(dir, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, name := range []string{"pipe", "link", "dir"} {
		_, err := tools.ReadFile(t.Context(), name)
		require.Error(t, err, name)
		require.Error(t, tools.WriteFile(t.Context(), name, []byte("x")), name)
	}
	// One that somebody reads is no file either.
	reader, err := os.OpenFile(filepath.Join(dir, "pipe"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer reader.Close()
	require.Error(t, tools.WriteFile(t.Context(), "pipe", []byte("x")))

	require.NoError(t, tools.WriteFile(t.Context(), "new/file", []byte("longer")))
	require.NoError(t, tools.WriteFile(t.Context(), "new/file", []byte("short")))
	data, err := tools.ReadFile(t.Context(), "new/file")
	require.NoError(t, err)
	assert.Equal(t, "short", string(data))
}
