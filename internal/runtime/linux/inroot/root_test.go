//go:build linux

package inroot_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
)

// root is a sandbox's root with links to an outside that must stay as it is.
func root(t *testing.T) (r inroot.Root, inside, outside string) {
	t.Helper()
	inside, outside = t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), []byte("outside"), 0o644))
	for name, target := range map[string]string{
		"absolute": outside,
		"up":       "../../../../../../../../.." + outside,
		"magic":    "/proc/self/root" + outside,
		"cwd":      "/proc/self/cwd",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(inside, name)))
	}
	fd, err := unix.Open(inside, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, unix.Close(fd))
		b, err := os.ReadFile(filepath.Join(outside, "file"))
		assert.NoError(t, err)
		assert.Equal(t, "outside", string(b))
		entries, err := os.ReadDir(outside)
		assert.NoError(t, err)
		assert.Len(t, entries, 1)
	})
	return inroot.Root(fd), inside, outside
}

func TestNoLinkLeadsOutside(t *testing.T) {
	r, _, outside := root(t)
	for _, way := range []string{"/absolute", "/up", "/magic", "/cwd", "/../../../.." + outside, outside} {
		for _, path := range []string{way + "/file", way + "/../" + filepath.Base(outside) + "/file"} {
			_, err := r.ReadFile(path, 100)
			assert.Error(t, err, path)
			_, err = r.Stat(path)
			assert.Error(t, err, path)
			_, err = r.Lookup(path)
			assert.Error(t, err, path)
			_, err = r.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
			assert.Error(t, err, path)
			assert.Error(t, r.Remove(path, true), path)
			assert.Error(t, r.Mkdir(way+"/made"), way)
			assert.Error(t, r.Symlink("x", path), path)
		}
		_, err := r.ReadDir(way)
		assert.Error(t, err, way)
	}
	require.NoError(t, r.Remove("/absolute", true), "the link itself")
	_, err := r.MkdirAll("/up/deep")
	assert.Error(t, err)
	assert.Error(t, r.Replace("/magic/file", "inside"))
}

func TestLinksInsideAreFollowed(t *testing.T) {
	r, inside, _ := root(t)
	fd, err := r.MkdirAll("/usr/etc/deep")
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	require.NoError(t, r.Symlink("/usr/etc", "/etc"))
	require.NoError(t, r.Replace("/etc/hosts", "one"))
	require.NoError(t, r.Replace("/etc/hosts", "two"))
	b, err := os.ReadFile(filepath.Join(inside, "usr/etc/hosts"))
	require.NoError(t, err)
	assert.Equal(t, "two", string(b))
	infos, err := r.ReadDir("/etc/../etc/.")
	require.NoError(t, err)
	require.Len(t, infos, 2)
	assert.Equal(t, "deep", infos[0].Name())
	assert.True(t, infos[0].IsDir())
	fd, err = r.Open("/etc/new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.ModeSetuid|0o750)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	info, err := r.Stat("/etc/new")
	require.NoError(t, err)
	assert.Equal(t, fs.ModeSetuid|0o750, info.Mode())
	_, err = r.Open("/etc/new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	assert.ErrorIs(t, err, fs.ErrExist)
	assert.Error(t, r.Remove("/usr", false))
	require.NoError(t, r.Remove("/usr", true))
	assert.ErrorIs(t, r.Remove("/usr", true), fs.ErrNotExist)
}

// What a directory of the root's own is, whatever an image has in its place.
func TestOwnDir(t *testing.T) {
	r, inside, outside := root(t)
	require.NoError(t, os.Symlink(outside, filepath.Join(inside, "proc")))
	require.NoError(t, os.WriteFile(filepath.Join(inside, "sys"), nil, 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(inside, "dev"), 0o755))
	for _, name := range []string{"proc", "sys", "dev", "new"} {
		fd, err := r.OwnDir(name)
		require.NoError(t, err, name)
		require.NoError(t, unix.Close(fd))
		info, err := os.Lstat(filepath.Join(inside, name))
		require.NoError(t, err)
		assert.True(t, info.IsDir(), name)
	}
}

// To open any of these might wait for ever, or have an effect.
func TestOnlyFilesAndDirectoriesAreOpened(t *testing.T) {
	r, inside, _ := root(t)
	require.NoError(t, unix.Mkfifo(filepath.Join(inside, "pipe"), 0o666))
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { assert.NoError(t, unix.Close(socket)) }()
	t.Chdir(inside) // the address is short so
	require.NoError(t, unix.Bind(socket, &unix.SockaddrUnix{Name: "socket"}))
	require.NoError(t, os.Symlink("pipe", "link"))
	for _, name := range []string{"/pipe", "/socket", "/link"} {
		for _, flags := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREATE | os.O_TRUNC} {
			_, err := r.Open(name, flags, 0o644)
			assert.ErrorIs(t, err, errors.ErrUnsupported, name)
		}
		_, err := r.ReadFile(name, 100)
		assert.ErrorIs(t, err, errors.ErrUnsupported, name)
	}
	require.NoError(t, r.Replace("/pipe", "file"))
	require.NoError(t, os.WriteFile("large", make([]byte, 101), 0o644))
	_, err = r.ReadFile("/large", 100)
	assert.ErrorIs(t, err, unix.EFBIG)

	host := hostRoot(t)
	for _, device := range []string{"/dev/null", "/dev/zero"} {
		_, err := host.Open(device, os.O_RDWR, 0)
		assert.ErrorIs(t, err, errors.ErrUnsupported, device)
	}
}

func hostRoot(t *testing.T) inroot.Root {
	t.Helper()
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, unix.Close(fd)) })
	return inroot.Root(fd)
}

func TestDeepTrees(t *testing.T) {
	r, inside, _ := root(t)
	fd, err := r.MkdirAll("/deep" + strings.Repeat("/d", 300))
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	require.NoError(t, r.Remove("/deep", true))
	assert.NoDirExists(t, filepath.Join(inside, "deep"))
}

// A rename anywhere makes the kernel give up looking for "..": a sandbox must
// not be able to make that an error.
func TestRenamesDoNotInterrupt(t *testing.T) {
	r, inside, _ := root(t)
	fd, err := r.MkdirAll("/real")
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		from, to := filepath.Join(inside, name), filepath.Join(inside, name+name)
		require.NoError(t, os.Mkdir(from, 0o755))
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = os.Rename(from, to), os.Rename(to, from)
				}
			}
		})
	}
	for range 1000 {
		_, err := r.Stat("/real/../real/../real/../real")
		assert.NoError(t, err)
	}
	close(stop)
	wait.Wait()
}
