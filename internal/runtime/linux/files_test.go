//go:build linux

package linux_test

import (
	"io"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFiles(t *testing.T) {
	s := start(t, newRuntime(t))
	f := s.Files()
	ctx := t.Context()

	require.NoError(t, f.Mkdir(ctx, "/data/deep", true))
	assert.ErrorIs(t, f.Mkdir(ctx, "/data", false), fs.ErrExist)
	put(t, s, "/data/deep/file", "content", 0o640)
	assert.Equal(t, "content640 root", sh(t, s, "cat /data/deep/file; stat -c '%a %U' /data/deep/file | tr -d '\n'"))

	infos, err := f.ReadDir(ctx, "/data/deep")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	assert.Equal(t, "file", infos[0].Name())
	info, err := f.Stat(ctx, "/data/deep/file")
	require.NoError(t, err)
	assert.EqualValues(t, 7, info.Size())
	assert.Equal(t, fs.FileMode(0o640), info.Mode())

	file, err := f.OpenFile(ctx, "/data/deep/file", os.O_RDWR|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = io.WriteString(file, "+more")
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	_, err = file.Seek(3, io.SeekStart)
	require.NoError(t, err)
	rest, err := io.ReadAll(file)
	require.NoError(t, err)
	assert.Equal(t, "tent+more", string(rest))
	require.NoError(t, file.Close())

	assert.Error(t, f.Remove(ctx, "/data", false))
	require.NoError(t, f.Remove(ctx, "/data", true))
	_, err = f.Stat(ctx, "/data/deep/file")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	var pathError *fs.PathError
	assert.ErrorAs(t, err, &pathError)
}

// Paths are resolved inside, where a link leads nowhere else, and not to the
// first process either.
func TestFilesStayInside(t *testing.T) {
	s := start(t, newRuntime(t))
	secret := tempDir(t) + "/secret"
	require.NoError(t, os.WriteFile(secret, []byte("host"), 0o644))
	sh(t, s, "ln -s "+secret+" /tmp/link; ln -s /proc/self/mem /tmp/mem; ln -s /proc/self/exe /tmp/exe; ln -s ../../../../../../../etc/hostname /tmp/up")

	_, err := s.Files().OpenFile(t.Context(), "/tmp/link", os.O_RDONLY, 0)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Files().OpenFile(t.Context(), "/tmp/mem", os.O_RDWR, 0)
	assert.ErrorIs(t, err, fs.ErrPermission)
	f, err := s.Files().OpenFile(t.Context(), "/tmp/up", os.O_RDONLY, 0)
	require.NoError(t, err)
	name, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	assert.Equal(t, sh(t, s, "hostname"), string(name))
}
