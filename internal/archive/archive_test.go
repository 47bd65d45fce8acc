package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/archive"
)

func TestTreeSurvivesRoundTrip(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("names and modes of this tree do not exist on Windows")
	}
	source, target := t.TempDir(), filepath.Join(t.TempDir(), "new", "target")
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	stamp := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for name, mode := range map[string]fs.FileMode{
		"plain": 0o644, "run.sh": 0o755, "secret": 0o600, "read only": 0o444,
		"-rf": 0o644, "--help": 0o644, "quote'\"`$(x)": 0o644, "line\nbreak": 0o644, "tab\t": 0o644,
		"ünï/文件/🙂": 0o640, "latin1-\xe9": 0o644, " lead": 0o644, "trail ": 0o644, "back\\slash": 0o644,
		".hidden/.deep/x": 0o644,
	} {
		path := filepath.Join(source, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, append([]byte(name), data[:1000]...), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		require.NoError(t, os.Chtimes(path, stamp, stamp))
	}
	require.NoError(t, os.WriteFile(filepath.Join(source, "large"), data, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(source, "empty"), nil, 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(source, "empty dir"), 0o750))
	require.NoError(t, os.Mkdir(filepath.Join(source, "locked"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(source, "locked", "inside"), nil, 0o400))
	require.NoError(t, os.Chmod(filepath.Join(source, "locked"), 0o555))
	t.Cleanup(func() { // or TempDir cannot be removed
		_ = os.Chmod(filepath.Join(source, "locked"), 0o755)
		_ = os.Chmod(filepath.Join(target, "locked"), 0o755)
	})
	require.NoError(t, os.Symlink("plain", filepath.Join(source, "link")))
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(source, "absolute link")))
	require.NoError(t, os.Symlink("../nowhere", filepath.Join(source, "dangling")))
	require.NoError(t, os.Link(filepath.Join(source, "plain"), filepath.Join(source, "zz hard")))

	var stream bytes.Buffer
	require.NoError(t, archive.Tar(&stream, nil, archive.Tree{Source: source}))
	require.NoError(t, archive.Untar(&stream, target, archive.Options{OuterLinks: true}))
	assert.Equal(t, listing(t, source), listing(t, target))
	first, err := os.Stat(filepath.Join(target, "plain"))
	require.NoError(t, err)
	second, err := os.Stat(filepath.Join(target, "zz hard"))
	require.NoError(t, err)
	assert.True(t, os.SameFile(first, second), "hard link lost")

	require.NoError(t, archive.Tar(&stream, nil, archive.Tree{Source: source}))
	require.NoError(t, os.Chmod(filepath.Join(target, "locked"), 0o755))
	require.NoError(t, archive.Untar(&stream, target, archive.Options{OuterLinks: true}), "a second time over the first")
	assert.Equal(t, listing(t, source), listing(t, target))
}

// listing describes a tree by mode, time of files, link target and contents.
func listing(t *testing.T, root string) map[string]string {
	t.Helper()
	entries := make(map[string]string)
	require.NoError(t, filepath.Walk(root, func(path string, info fs.FileInfo, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			entries[name] = "-> " + target
			return err
		case info.IsDir():
			entries[name] = info.Mode().String()
		default:
			data, err := os.ReadFile(path)
			entries[name] = info.Mode().String() + " " + info.ModTime().UTC().Truncate(time.Second).String() + " " + fmt.Sprintf("%x", sha256.Sum256(data))
			return err
		}
		return nil
	}))
	return entries
}

func TestFileBecomesOneEntry(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a file"), []byte("text"), 0o640))
	var stream bytes.Buffer
	require.NoError(t, archive.Tar(&stream, nil, archive.Tree{Source: filepath.Join(dir, "a file")}))
	r := tar.NewReader(&stream)
	header, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, "a file", header.Name)
	assert.Empty(t, header.Uname)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Equal(t, "text", string(data))
	_, err = r.Next()
	assert.Equal(t, io.EOF, err)
}

func TestMissingSource(t *testing.T) {
	err := archive.Tar(io.Discard, nil, archive.Tree{Source: filepath.Join(t.TempDir(), "none")})
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestExistingTargetKeepsItsMode(t *testing.T) {
	target := t.TempDir()
	require.NoError(t, os.Chmod(target, 0o700))
	require.NoError(t, archive.Untar(stream(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o777}), target, archive.Options{}))
	info, err := os.Stat(target)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

func TestHostileArchives(t *testing.T) {
	file := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 4}
	}
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
	}
	for name, entries := range map[string][]tar.Header{
		"parent":                  {file("../canary")},
		"parent in the middle":    {file("a/../../canary")},
		"through absolute link":   {link("a", "OUTSIDE"), file("a/canary")},
		"through relative link":   {link("a", ".."), file("a/canary")},
		"through link to link":    {link("a", "b"), link("b", ".."), file("a/canary")},
		"directory through link":  {link("a", ".."), {Name: "a/made/", Typeflag: tar.TypeDir, Mode: 0o755}},
		"hard link to outside":    {hard("a", "../canary"), file("a")},
		"hard link through link":  {link("l", ".."), hard("a", "l/canary")},
		"symlink through link":    {link("l", ".."), link("l/made", "x")},
		"the target becomes file": {file(".")},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			canary := filepath.Join(outside, "canary")
			require.NoError(t, os.WriteFile(canary, []byte("alive"), 0o600))
			for i := range entries {
				if entries[i].Linkname == "OUTSIDE" {
					entries[i].Linkname = outside
				}
			}
			target := filepath.Join(outside, "target")
			require.Error(t, archive.Untar(stream(t, entries...), target, archive.Options{OuterLinks: true}))
			assertOnly(t, outside, canary)

			require.NoError(t, os.RemoveAll(target))
			_ = archive.Untar(stream(t, entries...), target, archive.Options{}) // may skip the links
			assertOnly(t, outside, canary)
			assertNoWayOut(t, target)
		})
	}
}

// A stream that begins like that of one file and goes on otherwise moves nothing
// of this machine to the target.
func TestHostileFileStreams(t *testing.T) {
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	require.NoError(t, os.WriteFile(canary, []byte("alive"), 0o600))
	for name, entries := range map[string][]tar.Header{
		"through absolute link": {{Name: "a/canary", Typeflag: tar.TypeFifo}, {Name: "a", Typeflag: tar.TypeSymlink, Linkname: outside}},
		"through relative link": {{Name: "a/canary", Typeflag: tar.TypeChar}, {Name: "a", Typeflag: tar.TypeSymlink, Linkname: ".."}},
		"nothing":               {{Name: "canary", Typeflag: tar.TypeFifo}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, archive.Extract(stream(t, entries...), filepath.Join(outside, "target"), archive.Options{}))
			assertOnly(t, outside, canary)
			assert.NoFileExists(t, filepath.Join(outside, "target"))
		})
	}
}

func TestLinksAreReplacedNotFollowed(t *testing.T) {
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	require.NoError(t, os.WriteFile(canary, []byte("alive"), 0o600))
	target := filepath.Join(outside, "target")
	entries := []tar.Header{
		{Name: "/a", Typeflag: tar.TypeSymlink, Linkname: canary},
		{Name: "/a", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 4},
		{Name: "fifo", Typeflag: tar.TypeFifo},
		{Name: "device", Typeflag: tar.TypeChar},
	}
	require.NoError(t, archive.Untar(stream(t, entries...), target, archive.Options{}))
	assertOnly(t, outside, canary)
	info, err := os.Lstat(filepath.Join(target, "a"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o755), info.Mode(), "a regular file without set-user-ID")
	left, err := os.ReadDir(target)
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestStreamIsReadToItsEnd(t *testing.T) {
	failure := errors.New("tar said no")
	r := io.MultiReader(stream(t), bytes.NewReader(make([]byte, 10<<10)), iotest.ErrReader(failure))
	assert.ErrorIs(t, archive.Untar(r, t.TempDir(), archive.Options{}), failure)
}

func TestWhatDoesNotArriveLeavesNothing(t *testing.T) {
	failure := errors.New("no such file")
	target := filepath.Join(t.TempDir(), "target")
	assert.ErrorIs(t, archive.Extract(io.MultiReader(stream(t), iotest.ErrReader(failure)), target, archive.Options{}), failure)
	assert.NoFileExists(t, target)
	assert.NoDirExists(t, target)
}

func TestAFileReplacesNoDirectory(t *testing.T) {
	target := t.TempDir()
	err := archive.Extract(stream(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 4}), target, archive.Options{})
	require.ErrorContains(t, err, "a file cannot replace a directory")
	entries, err := os.ReadDir(filepath.Dir(target))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func stream(t testing.TB, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, header := range headers {
		require.NoError(t, w.WriteHeader(&header))
		_, err := w.Write(make([]byte, header.Size))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &b
}

// assertOnly checks that nothing but the canary and the target is there.
func assertOnly(t testing.TB, outside, canary string) {
	t.Helper()
	data, err := os.ReadFile(canary)
	require.NoError(t, err)
	assert.Equal(t, "alive", string(data))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	for _, entry := range entries {
		assert.Contains(t, []string{"canary", "target"}, entry.Name())
	}
}

// assertNoWayOut checks that no link below the target leads out of it.
func assertNoWayOut(t testing.TB, target string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(target)
	if err != nil {
		return // it was not made
	}
	require.NoError(t, filepath.WalkDir(real, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return nil //nolint:nilerr // what cannot be looked at is no way out
		}
		if end, err := filepath.EvalSymlinks(path); err == nil {
			inside, err := filepath.Rel(real, end)
			require.NoError(t, err)
			assert.True(t, filepath.IsLocal(inside), "%s leads to %s", path, end)
		}
		return nil
	}))
}

func FuzzUntar(f *testing.F) {
	f.Add(stream(f, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "a/canary", Typeflag: tar.TypeReg, Size: 4}).Bytes())
	f.Add(stream(f, tar.Header{Name: "../canary", Typeflag: tar.TypeReg, Size: 4}).Bytes())
	f.Add(stream(f, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "d"}).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		outside := t.TempDir()
		canary := filepath.Join(outside, "canary")
		require.NoError(t, os.WriteFile(canary, []byte("alive"), 0o600))
		target := filepath.Join(outside, "target")
		_ = archive.Untar(bytes.NewReader(data), target, archive.Options{}) // any error will do
		assertNoWayOut(t, target)
		_ = filepath.WalkDir(target, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				_ = os.Chmod(path, 0o755) // or TempDir cannot be removed
			}
			return nil
		})
		assertOnly(t, outside, canary)
	})
}
