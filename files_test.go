package seer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// oddNames are file names that break what splices them into a shell.
var oddNames = []string{
	"plain", "with space", "-rf", "--help", "quote'", `double"`, "new\nline", "dollar$HOME", "star*", "ünï-çødé", "`id`", ";id", "back\\slash", ".hidden", "tab\t", "percent%s",
}

func TestWriteAndReadFile(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	ctx := t.Context()

	require.NoError(t, sandbox.WriteFile(ctx, "/workspace/config.json", []byte(`{"key": "value"}`)))
	require.NoError(t, sandbox.EnsureDir(ctx, "/workspace/outputs"))
	out, err := sandbox.Exec(ctx, "cat /workspace/config.json; stat -c ' %a' /workspace/config.json; ls -d /workspace/outputs")
	require.NoError(t, err)
	assert.Equal(t, "{\"key\": \"value\"} 644\n/workspace/outputs\n", out)

	t.Run("odd names and contents", func(t *testing.T) {
		content := []byte("\x00\xff\r\n'\"$\n\n")
		for _, name := range oddNames {
			path := "/workspace/odd/" + name + "/" + name
			require.NoError(t, sandbox.WriteFile(ctx, path, content), "%q", name)
			data, err := sandbox.ReadFile(ctx, path)
			require.NoError(t, err, "%q", name)
			assert.Equal(t, content, data, "%q", name)
		}
	})

	t.Run("empty file, and a relative path", func(t *testing.T) {
		require.NoError(t, sandbox.WriteFile(ctx, "/workspace/empty", nil))
		data, err := sandbox.ReadFile(ctx, "/workspace/empty")
		require.NoError(t, err)
		assert.Empty(t, data)
	})

	t.Run("keeps the mode of an existing file", func(t *testing.T) {
		_, err := sandbox.Exec(ctx, "install -m 750 /dev/null /workspace/script")
		require.NoError(t, err)
		require.NoError(t, sandbox.WriteFile(ctx, "/workspace/script", []byte("#!/bin/sh\n")))
		out, err := sandbox.Exec(ctx, "stat -c %a /workspace/script")
		require.NoError(t, err)
		assert.Equal(t, "750\n", out)
	})

	t.Run("errors are the file system's", func(t *testing.T) { // D22
		_, err := sandbox.ReadFile(ctx, "/no/such/file")
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorContains(t, err, "/no/such/file")
		assert.Error(t, sandbox.WriteFile(ctx, "/proc/nothing/here", []byte("x")))
		assert.Error(t, sandbox.EnsureDir(ctx, "/workspace/config.json/sub"))
		assert.Error(t, sandbox.WriteFile(ctx, "/workspace/outputs", []byte("x")), "a directory")
	})

	t.Run("a reader never sees half a file", func(t *testing.T) {
		a, b := bytes.Repeat([]byte("a"), 4<<20), bytes.Repeat([]byte("b"), 4<<20)
		require.NoError(t, sandbox.WriteFile(ctx, "/workspace/big", a))
		watch := sandbox.Command("python", "-c", `
import sys
print("watching", flush=True)
seen = set()
while "b" not in seen:
    text = open("/workspace/big").read()
    seen.add(text[0])
    assert len(text) == 4 << 20 and text.count(text[0]) == len(text), "torn"
`)
		read, stdout, err := os.Pipe()
		require.NoError(t, err)
		defer read.Close()
		watch.Stdout = stdout
		require.NoError(t, watch.Start(within(t, patience)))
		_, err = read.Read(make([]byte, 16))
		require.NoError(t, err)
		require.NoError(t, sandbox.WriteFile(ctx, "/workspace/big", b))
		require.NoError(t, watch.Wait())
		require.NoError(t, stdout.Close())
	})
}

// makeTree fills a directory with everything that a copy may lose.
func makeTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "empty"), 0o755))
	for i, name := range oddNames {
		dir := filepath.Join(root, "odd", name)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, i*100)), 0o644))
	}
	for _, mode := range []fs.FileMode{0o600, 0o755, 0o444} {
		path := filepath.Join(root, mode.String())
		require.NoError(t, os.WriteFile(path, nil, mode))
		require.NoError(t, os.Chmod(path, mode))
	}
	require.NoError(t, os.Symlink("../nowhere", filepath.Join(root, "dangling")))
	require.NoError(t, os.Symlink("odd/plain/plain", filepath.Join(root, "link")))
	return root
}

// describeTree lists a tree with types, modes, link targets and contents.
func describeTree(t *testing.T, root string) map[string]string {
	t.Helper()
	tree := make(map[string]string)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			require.NoError(t, err)
			tree[name] = "-> " + target
		case info.IsDir():
			tree[name] = info.Mode().String()
		default:
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			tree[name] = info.Mode().String() + " " + string(data)
		}
		return nil
	}))
	return tree
}

func TestTreesSurviveARoundTrip(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	root := makeTree(t)
	require.NoError(t, sandbox.Upload(t.Context(), root, "/workspace/up/load"))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, sandbox.Download(t.Context(), "/workspace/up/load", back))
	want := describeTree(t, root)
	delete(want, "dangling") // it leads out of the tree
	assert.Equal(t, want, describeTree(t, back))

	t.Run("a single file", func(t *testing.T) {
		source := filepath.Join(root, "odd", "-rf", "-rf")
		require.NoError(t, sandbox.Upload(t.Context(), source, "/workspace/one/file.txt"))
		target := filepath.Join(t.TempDir(), "new", "file.txt")
		require.NoError(t, sandbox.Download(t.Context(), "/workspace/one/file.txt", target))
		want, err := os.ReadFile(source)
		require.NoError(t, err)
		got, err := os.ReadFile(target)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	})

	t.Run("directories that are there stay", func(t *testing.T) {
		_, err := sandbox.Exec(t.Context(), "mkdir -p /there/empty /there/real && ln -s real /there/link && touch /there/file")
		require.NoError(t, err)
		file := filepath.Join(root, "odd", "plain", "plain")
		for target, want := range map[string]error{"/there/empty": syscall.EISDIR, "/there/link": syscall.EISDIR, "/there/file/below": syscall.ENOTDIR} {
			err := sandbox.Upload(t.Context(), file, target)
			require.ErrorIs(t, err, want)
			assert.ErrorContains(t, err, "/there/")
		}
		require.NoError(t, sandbox.Upload(t.Context(), root, "/there/link"))
		out, err := sandbox.Exec(t.Context(), "cd /there && stat -c '%n %F' empty link file && cat real/odd/quote\\'/quote\\'")
		require.NoError(t, err)
		assert.Equal(t, "empty directory\nlink symbolic link\nfile regular empty file\n"+strings.Repeat("quote'", 400), out)
	})

	t.Run("what is not there", func(t *testing.T) {
		assert.ErrorIs(t, sandbox.Upload(t.Context(), filepath.Join(root, "nothing"), "/workspace/x"), fs.ErrNotExist)
		assert.ErrorIs(t, sandbox.Download(t.Context(), "/workspace/nothing", t.TempDir()), fs.ErrNotExist)
		assert.ErrorContains(t, sandbox.Upload(t.Context(), root, "relative"), "absolute")
	})
}

// hostileTar is what a sandbox that wants to write elsewhere would send.
func hostileTar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "../escaped", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644},
		{Name: "./out", Typeflag: tar.TypeSymlink, Linkname: ".."},
		{Name: "./out/through-link", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644},
	} {
		require.NoError(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("x"))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestDownloadStaysInItsTarget(t *testing.T) {
	sandbox := startSandbox(t, seer.SandboxConfig{})
	require.NoError(t, sandbox.WriteFile(t.Context(), "/workspace/evil.tar", hostileTar(t)))
	_, err := sandbox.Exec(t.Context(), `rm -f /usr/local/bin/tar; printf '#!/bin/sh\ncat /workspace/evil.tar\n' >/usr/local/bin/tar && chmod +x /usr/local/bin/tar && mkdir /workspace/dir`)
	require.NoError(t, err)
	parent := t.TempDir()
	err = sandbox.Download(t.Context(), "/workspace/dir", filepath.Join(parent, "target"))
	require.Error(t, err)
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	for _, e := range entries {
		assert.Equal(t, "target", e.Name())
	}
}

func TestFS(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	_, err := sandbox.Exec(t.Context(), `mkdir -p /data/sub/empty && cd /data && echo hello >file && echo x >sub/"odd name" && chmod 600 file && ln -s file link`)
	require.NoError(t, err)
	files, err := fs.Sub(sandbox.FS(t.Context()), "data")
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(files, "file", "sub/odd name", "sub/empty"))

	info, err := fs.Stat(files, "file")
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
	_, err = fs.Stat(files, "nothing")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fs.ReadFile(files, "../etc/passwd")
	require.ErrorIs(t, err, fs.ErrInvalid)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = fs.ReadFile(sandbox.FS(cancelled), "data/file")
	require.ErrorIs(t, err, context.Canceled)
}
