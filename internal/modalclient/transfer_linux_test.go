package modalclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/archive"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

var hostileNames = []string{
	"plain", "two words", "-rf", "--help", "-", "quote'\"`$(touch x)", "line\nbreak", "ends in newline\n", "tab\t",
	"ünï 文件 🙂", "latin1-\xe9", " lead", "trail ", "back\\slash", "*", "a;b&c|d", ".hidden", "deep/er/and deeper/file",
}

func TestFilesByHostileNames(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	dir := t.TempDir()
	for _, name := range hostileNames {
		path := filepath.Join(dir, name)
		want := []byte("contents of " + name + "\x00\xff")
		require.NoError(t, s.WriteFile(t.Context(), path, bytes.NewReader(want), 0o640), "%q", name)
		onDisk, err := os.ReadFile(path)
		require.NoError(t, err, "%q", name)
		assert.Equal(t, want, onDisk, "%q", name)
		got, err := s.ReadFile(t.Context(), path)
		require.NoError(t, err, "%q", name)
		assert.Equal(t, want, got, "%q", name)
		require.NoError(t, s.EnsureDir(t.Context(), path+".d/x"), "%q", name)
		require.DirExists(t, path+".d/x")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".seer-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "temporary files")
}

func TestRelativeNames(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	for _, name := range []string{"file", "-", "-n", "dir/file"} {
		require.NoError(t, s.WriteFile(t.Context(), name, strings.NewReader(name), 0))
		got, err := s.ReadFile(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, name, string(got))
	}
}

func TestWriteFileKeepsModeAndFollowsLinks(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	dir := t.TempDir()
	mode := func(name string) fs.FileMode {
		info, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		return info.Mode()
	}
	write := func(name, text string, mode fs.FileMode) {
		require.NoError(t, s.WriteFile(t.Context(), filepath.Join(dir, name), strings.NewReader(text), mode))
	}
	write("script", "one", 0o750)
	assert.Equal(t, fs.FileMode(0o750), mode("script"))
	write("script", "two", 0)
	assert.Equal(t, fs.FileMode(0o750), mode("script"))
	write("new", "", 0)
	assert.Equal(t, fs.FileMode(0o644), mode("new"))
	require.NoError(t, os.Symlink("script", filepath.Join(dir, "link")))
	write("link", "three", 0)
	assert.Equal(t, fs.ModeSymlink, mode("link").Type())
	text, err := os.ReadFile(filepath.Join(dir, "script"))
	require.NoError(t, err)
	assert.Equal(t, "three", string(text))
}

func TestFileErrors(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	read := func(name string) error {
		_, err := s.ReadFile(t.Context(), name)
		return err
	}
	write := func(name string) error { return s.WriteFile(t.Context(), name, strings.NewReader("x"), 0) }
	for _, c := range []struct {
		err  error
		want error
	}{
		{read(filepath.Join(dir, "none")), fs.ErrNotExist},
		{read(dir), syscall.EISDIR},
		{read(filepath.Join(dir, "file", "below")), syscall.ENOTDIR},
		{write(dir), syscall.EISDIR},
		{write(filepath.Join(dir, "file", "below")), syscall.ENOTDIR},
		{write("/proc/none/file"), fs.ErrNotExist},
		{s.EnsureDir(t.Context(), filepath.Join(dir, "file")), fs.ErrExist},
		{s.EnsureDir(t.Context(), filepath.Join(dir, "file", "x")), syscall.ENOTDIR},
		{s.EnsureDir(t.Context(), ""), fs.ErrInvalid},
		{read("a\x00b"), fs.ErrInvalid},
		{s.Upload(t.Context(), bytes.NewReader(nil), filepath.Join(dir, "file")), fs.ErrExist},
	} {
		require.ErrorIs(t, c.err, c.want)
		var path *fs.PathError
		require.ErrorAs(t, c.err, &path)
	}
	_, err := s.Download(t.Context(), "")
	require.ErrorIs(t, err, fs.ErrInvalid)
	d, err := s.Download(t.Context(), filepath.Join(dir, "none"))
	require.NoError(t, err)
	_, err = io.ReadAll(d)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, d.Close())
}

func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	failure := errors.New("the disk on this side")
	broken := io.MultiReader(strings.NewReader(strings.Repeat("new", 1<<20)), iotest.ErrReader(failure))
	require.ErrorIs(t, s.WriteFile(t.Context(), path, broken, 0), failure)
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, s.WriteFile(ctx, path, &onRead{n: 8, then: cancel}, 0), context.Canceled)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "temporary files")
}

func TestTreesAreOneCommandEach(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	source, there, back := t.TempDir(), filepath.Join(t.TempDir(), "a", "b"), filepath.Join(t.TempDir(), "back")
	for i, name := range hostileNames {
		path := filepath.Join(source, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte(name), i), 0o600|fs.FileMode(i%8)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(source, "empty"), 0o700))
	require.NoError(t, os.Symlink("plain", filepath.Join(source, "link")))

	up := w.record(func() {
		r, tar := io.Pipe()
		go func() { _ = tar.CloseWithError(archive.Tar(tar, nil, archive.Tree{Source: source})) }()
		require.NoError(t, s.Upload(t.Context(), r, there))
	})
	assert.Equal(t, 1, count(up, "TaskExecStart"))
	down := w.record(func() {
		d, err := s.Download(t.Context(), there)
		require.NoError(t, err)
		require.NoError(t, archive.Untar(d, back, archive.Options{}))
		require.NoError(t, d.Close())
	})
	assert.Equal(t, 1, count(down, "TaskExecStart"))
	assert.Equal(t, snapshot(t, source), snapshot(t, there))
	assert.Equal(t, snapshot(t, source), snapshot(t, back))

	single := filepath.Join(t.TempDir(), "single")
	d, err := s.Download(t.Context(), filepath.Join(there, "line\nbreak"))
	require.NoError(t, err)
	require.NoError(t, archive.Untar(d, single, archive.Options{}))
	require.NoError(t, d.Close())
	assert.FileExists(t, filepath.Join(single, "line\nbreak"))
}

func TestDownloadThatIsNotReadToItsEnd(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	d, err := s.Download(t.Context(), "/usr/share")
	require.NoError(t, err)
	_, err = io.ReadFull(d, make([]byte, 1024))
	require.NoError(t, err)
	require.NoError(t, d.Close())
	_, err = d.Read(make([]byte, 1))
	require.ErrorIs(t, err, fs.ErrClosed)
}

func count(methods []string, method string) int {
	n := 0
	for _, m := range methods {
		if m == method {
			n++
		}
	}
	return n
}

// snapshot describes the files below a directory.
func snapshot(t testing.TB, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		description := info.Mode().String()
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			description += " " + string(data)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			description += " " + target
		}
		name, err := filepath.Rel(root, path)
		files[name] = description
		return err
	}))
	return files
}
