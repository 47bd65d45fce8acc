package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/archive"
)

// skips collects what is not copied.
func skips() (archive.Skipped, map[string]string) {
	told := map[string]string{}
	return func(name, reason string) { told[name] = reason }, told
}

// sparseFile has data at some places, and holes everywhere else.
func sparseFile(t testing.TB, path string, size int64, at ...int64) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	for _, offset := range at {
		_, err := f.WriteAt([]byte(fmt.Sprint("data at ", offset)), offset)
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
}

func allocated(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512 //nolint:errcheck,forcetypeassert // it is one on Linux
}

func TestHolesStayHoles(t *testing.T) {
	dir, target := t.TempDir(), t.TempDir()
	many := make([]int64, 200)
	for i := range many {
		many[i] = int64(i) << 20
	}
	for name, make := range map[string]struct {
		size int64
		at   []int64
	}{
		"hole": {1 << 30, nil}, "ends with data": {1<<30 + 20, []int64{1 << 30}}, "begins with data": {64 << 20, []int64{0}},
		"in pieces": {201 << 20, many}, "large": {9 << 30, []int64{0, 17 << 29}}, "odd": {123457, []int64{100000}},
		"a name of more than one hundred characters " + strings.Repeat("x", 100): {1 << 20, []int64{4096}},
	} {
		sparseFile(t, filepath.Join(dir, name), make.size, make.at...)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "after"), []byte("plain"), 0o644))
	var b bytes.Buffer
	require.NoError(t, archive.Tar(&b, nil, archive.Tree{Source: dir}))
	assert.Less(t, b.Len(), 4<<20)
	sent := bytes.NewReader(b.Bytes())
	require.NoError(t, archive.Untar(sent, target, archive.Options{}))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		want, err := os.Stat(filepath.Join(dir, entry.Name()))
		require.NoError(t, err)
		got, err := os.Stat(filepath.Join(target, entry.Name()))
		require.NoError(t, err, entry.Name())
		assert.Equal(t, want.Size(), got.Size(), entry.Name())
		assert.LessOrEqual(t, allocated(t, filepath.Join(target, entry.Name())), allocated(t, filepath.Join(dir, entry.Name()))+4096, entry.Name())
		if want.Size() < 256<<20 {
			assertSameContent(t, filepath.Join(dir, entry.Name()), filepath.Join(target, entry.Name()))
		}
	}
	f, err := os.Open(filepath.Join(target, "large"))
	require.NoError(t, err)
	defer f.Close()
	data := make([]byte, 20)
	_, err = f.ReadAt(data, 17<<29)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint("data at ", 17<<29), strings.TrimRight(string(data), "\x00"))
}

func assertSameContent(t testing.TB, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	require.NoError(t, err)
	y, err := os.ReadFile(b)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(x, y), "%s and %s differ", a, b)
}

func TestSpecialFiles(t *testing.T) {
	dir, target := t.TempDir(), t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	require.NoError(t, err)
	defer listener.Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644))
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	require.NoError(t, os.Symlink("none", filepath.Join(dir, "dangling")))

	skipped, told := skips()
	var b bytes.Buffer
	require.NoError(t, archive.Tar(&b, skipped, archive.Tree{Source: dir}))
	assert.Equal(t, map[string]string{"fifo": "is a named pipe", "socket": "is a socket"}, told)
	require.NoError(t, archive.Untar(&b, target, archive.Options{}))
	assert.FileExists(t, filepath.Join(target, "file"))

	for path, want := range map[string]string{
		filepath.Join(dir, "fifo"): "is a named pipe", filepath.Join(dir, "socket"): "is a socket", "/dev/null": "is a device",
		filepath.Join(dir, "loop"): "too many levels of symbolic links", filepath.Join(dir, "dangling"): "no such file",
	} {
		err := archive.Tar(io.Discard, nil, archive.Tree{Source: path})
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, want)
	}
	for name, target := range map[string]string{"fifo": filepath.Join(dir, "fifo"), "socket": filepath.Join(dir, "socket"), "directory": dir} {
		err := archive.Extract(stream(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 4}), target, archive.Options{})
		require.ErrorContains(t, err, "a file cannot replace", name)
		require.ErrorContains(t, err, target)
	}
}

func TestUnreadableFilesAreErrors(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "locked"), []byte("x"), 0))
	var b bytes.Buffer
	err := archive.Tar(&b, nil, archive.Tree{Source: dir})
	if os.Geteuid() == 0 { // who may read it
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "locked")
}

func TestKernelFilesAreReadToTheirEnd(t *testing.T) {
	for _, path := range []string{"/proc/cpuinfo", "/proc/self/mountinfo", "/sys/kernel/uevent_seqnum", "/proc/sys/kernel/osrelease"} {
		want, err := os.ReadFile(path)
		if err != nil {
			continue // the machine hides it
		}
		var b bytes.Buffer
		require.NoError(t, archive.Tar(&b, nil, archive.Tree{Source: path}))
		target := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, archive.Extract(&b, target, archive.Options{}))
		got, err := os.ReadFile(target)
		require.NoError(t, err)
		if path != "/proc/cpuinfo" { // where clock rates change
			assert.Equal(t, string(want), string(got), path)
		}
		assert.NotEmpty(t, got)
	}
}

// onWrite calls do once n bytes were written.
type onWrite struct {
	io.Writer
	n  int
	do func()
}

func (w *onWrite) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n <= 0 && w.do != nil {
		w.do()
		w.do = nil
	}
	return w.Writer.Write(p)
}

// What changes while its tree is copied arrives as it was at some moment, or is
// named; the rest of the tree arrives anyway.
func TestTreesThatChangeMeanwhile(t *testing.T) {
	const size = 8 << 20
	for name, test := range map[string]struct {
		change func(path string) error
		check  func(t *testing.T, data []byte, err error, reason string)
	}{
		"truncated": {func(path string) error { return os.Truncate(path, 3<<20) }, func(t *testing.T, data []byte, err error, _ string) {
			require.NoError(t, err)
			assert.Len(t, data, 3<<20)
		}},
		"emptied": {func(path string) error { return os.Truncate(path, 0) }, func(t *testing.T, data []byte, err error, _ string) {
			require.NoError(t, err)
			assert.Empty(t, data)
		}},
		"grown": {func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(make([]byte, 1<<20))
			return errors.Join(err, f.Close())
		}, func(t *testing.T, data []byte, err error, _ string) {
			require.NoError(t, err)
			assert.Len(t, data, size)
		}},
		"removed while it is read": {os.Remove, func(t *testing.T, data []byte, err error, _ string) {
			require.NoError(t, err)
			assert.Len(t, data, size)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, target := t.TempDir(), t.TempDir()
			path := filepath.Join(dir, "b")
			require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("b"), size), 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "c"), []byte("c"), 0o644))
			skipped, told := skips()
			var b bytes.Buffer
			w := &onWrite{Writer: &b, n: 2 << 20, do: func() { assert.NoError(t, test.change(path)) }}
			require.NoError(t, archive.Tar(w, skipped, archive.Tree{Source: dir}))
			require.NoError(t, archive.Untar(&b, target, archive.Options{}))
			assert.FileExists(t, filepath.Join(target, "c"))
			data, err := os.ReadFile(filepath.Join(target, "b"))
			test.check(t, data, err, told["b"])
		})
	}
	t.Run("vanished", func(t *testing.T) {
		dir, target := t.TempDir(), t.TempDir()
		for _, name := range []string{"a", "b/c", "d", "e"} {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
		}
		skipped, told := skips()
		var b bytes.Buffer
		w := &onWrite{Writer: &b, n: 1, do: func() {
			assert.NoError(t, os.RemoveAll(filepath.Join(dir, "b")))
			assert.NoError(t, os.Remove(filepath.Join(dir, "d")))
		}}
		require.NoError(t, archive.Tar(w, skipped, archive.Tree{Source: dir}))
		assert.Equal(t, map[string]string{"b": "vanished meanwhile", "d": "vanished meanwhile"}, told)
		require.NoError(t, archive.Untar(&b, target, archive.Options{}))
		assert.FileExists(t, filepath.Join(target, "a"))
		assert.FileExists(t, filepath.Join(target, "e"))
	})
	t.Run("always shrinking", func(t *testing.T) {
		dir, target := t.TempDir(), t.TempDir()
		path := filepath.Join(dir, "b")
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("b"), size), 0o644))
		skipped, told := skips()
		var b bytes.Buffer
		left := int64(size)
		shrinking := writerFunc(func(p []byte) (int, error) {
			left -= 4 << 10
			assert.NoError(t, os.Truncate(path, left))
			return b.Write(p)
		})
		require.NoError(t, archive.Tar(shrinking, skipped, archive.Tree{Source: dir}))
		require.NoError(t, archive.Untar(&b, target, archive.Options{}))
		assert.FileExists(t, filepath.Join(target, "b"))
		assert.Contains(t, told["b"], "shrinks again and again")
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Links are kept where they can lead nowhere but below the target, through
// whatever other links, and are skipped elsewhere.
func TestLinksStayInside(t *testing.T) {
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	file := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 1, Mode: 0o644}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
	}
	for name, test := range map[string]struct {
		entries []tar.Header
		kept    []string
	}{
		"inside":                     {[]tar.Header{file("d/f"), link("d/a", "f"), link("b", "d/f"), link("d/c", "../b"), link("d/e/g", "./../../d")}, []string{"d/a", "b", "d/c", "d/e/g"}},
		"absolute":                   {[]tar.Header{link("a", "/etc/passwd"), link("b", "//etc"), link("c", "./..//../etc")}, nil},
		"up":                         {[]tar.Header{link("a", ".."), link("d/b", "../.."), link("d/c", "../../x"), link("d/ok", "../x")}, []string{"d/ok"}},
		"down and up":                {[]tar.Header{link("l", "."), link("a", "l/.."), link("b", "d/../.."), link("c", "d/..")}, []string{"l"}},
		"placed through a link":      {[]tar.Header{link("l", "."), link("l/l/l/a", "../../x"), link("l/b", "../x")}, []string{"l"}},
		"a second name higher up":    {[]tar.Header{link("d/e/f/a", "../../../x"), hard("b", "d/e/f/a")}, []string{"d/e/f/a"}},
		"a directory becomes a link": {[]tar.Header{link("d/e/a", "../../x"), link("d/e", "..")}, []string{"d/e/a"}},
		"empty":                      {[]tar.Header{link("a", "")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "target")
			skipped, told := skips()
			_ = archive.Untar(stream(t, test.entries...), target, archive.Options{Skipped: skipped}) // one that cannot be made is an error
			var kept []string
			_ = filepath.WalkDir(target, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.Type() == fs.ModeSymlink {
					name, _ := filepath.Rel(target, path)
					kept = append(kept, name)
				}
				return nil
			})
			assert.ElementsMatch(t, test.kept, kept, "told: %v", told)
			assertNoWayOut(t, target)
		})
	}
}

// No stream fills the disk, the memory or the time of who unpacks it.
func TestStreamsAreBounded(t *testing.T) {
	t.Run("names", func(t *testing.T) {
		err := archive.Untar(stream(t, tar.Header{Name: strings.Repeat("d/", 20<<10), Typeflag: tar.TypeDir, Mode: 0o755}), t.TempDir(), archive.Options{})
		require.ErrorContains(t, err, "more than 32768 bytes")
	})
	t.Run("what follows the end", func(t *testing.T) {
		endless := io.MultiReader(stream(t), readerFunc(func(p []byte) (int, error) { return len(p), nil }))
		require.ErrorContains(t, archive.Untar(endless, t.TempDir(), archive.Options{}), "goes on after its end")
		require.ErrorContains(t, archive.Extract(io.MultiReader(stream(t), readerFunc(func(p []byte) (int, error) { clear(p); return len(p), nil })), filepath.Join(t.TempDir(), "x"), archive.Options{}), "")
	})
	t.Run("holes", func(t *testing.T) {
		dir := t.TempDir()
		sparseFile(t, filepath.Join(dir, "huge"), 8<<40)
		var b bytes.Buffer
		require.NoError(t, archive.Tar(&b, nil, archive.Tree{Source: dir}))
		require.ErrorContains(t, archive.Untar(&b, t.TempDir(), archive.Options{}), "bytes of holes")
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
