//go:build linux

package tree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// deepen makes directories in each other, deeper than a path can say, each with
// a file and a directory beside the next one.
func deepen(t *testing.T, dir string, levels int) {
	t.Helper()
	fd, err := tree.OpenDir(dir)
	require.NoError(t, err)
	for range levels {
		for _, name := range []string{"next", "beside"} {
			require.NoError(t, unix.Mkdirat(fd, name, 0o700))
		}
		require.NoError(t, unix.Symlinkat("/", fd, "link"))
		next, err := unix.Openat(fd, "next", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Fchmodat(fd, "beside", 0, 0))
		require.NoError(t, unix.Fchmod(fd, 0))
		require.NoError(t, unix.Close(fd))
		fd = next
	}
	require.NoError(t, unix.Close(fd))
}

func TestRemoveWhateverThereIs(t *testing.T) {
	parent := t.TempDir()
	top := filepath.Join(parent, "top")
	require.NoError(t, os.Mkdir(top, 0o755))
	for i := range 1500 {
		require.NoError(t, os.WriteFile(filepath.Join(top, fmt.Sprint("file", i)), nil, 0))
	}
	deepen(t, top, 900)
	var before, after unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	after = before
	after.Cur = 256
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &after))
	err := tree.Remove(top)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	require.NoError(t, err)
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.NoError(t, tree.Remove(top), "it is gone already")
	assert.NoError(t, tree.Remove(filepath.Join(top, "below")))
}

func TestCopyOfTooDeepATreeIsAnError(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	t.Cleanup(func() { assert.NoError(t, tree.Remove(filepath.Join(from, "next"))) })
	deepen(t, from, 300)
	require.NoError(t, os.Chmod(from, 0o755))
	src, err := tree.OpenDir(from)
	require.NoError(t, err)
	dst, err := tree.OpenDir(to)
	require.NoError(t, err)
	err = tree.Copy(t.Context(), dst, src, tree.Plain)
	require.NoError(t, unix.Close(src))
	require.NoError(t, unix.Close(dst))
	assert.Error(t, err)
}
