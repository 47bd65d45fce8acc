//go:build linux

package linux

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

// A directory of the host that a sandbox writes to, and that other users of the
// host reach, gets no program that would give them its owner's rights.
func TestNoSetIDProgramsInADirectoryOfTheHost(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o755))
	require.NoError(t, os.Chmod(filepath.Join(dir, "old"), 0o755|fs.ModeSetuid))
	bind := func(spec *runtime.Spec) { spec.Dirs = []runtime.DirMount{{Source: dir, Path: "/workspace"}} }
	inEveryMode(t, bind, func(t *testing.T, i *inside) {
		t.Log(i.sh(`cd /workspace && cp /bin/true a; chmod 4755 a; chmod 2755 a; chmod u+s a; install -m 4755 a b; setcap cap_setuid+ep a; cat a > old; cp -p /usr/bin/passwd . 2>&1`))
		for n, errno := range i.call(
			systemCall{unix.SYS_FCHMODAT, unix.AT_FDCWD, "/workspace/a", 0o4755},
			systemCall{unix.SYS_FCHMODAT2, unix.AT_FDCWD, "/workspace/a", 0o6755, 0},
			systemCall{unix.SYS_OPENAT, unix.AT_FDCWD, "/workspace/c", unix.O_CREAT | unix.O_RDWR, 0o4755},
			systemCall{unix.SYS_OPENAT, unix.AT_FDCWD, "/workspace", unix.O_TMPFILE | unix.O_RDWR, 0o4755},
			systemCall{unix.SYS_MKNODAT, unix.AT_FDCWD, "/workspace/d", unix.S_IFREG | 0o4755, 0},
			systemCall{unix.SYS_SETXATTR, "/workspace/a", "security.capability", "\x01\x00\x00\x02\x80", 20, 0},
		) {
			assert.NotZero(t, errno, n)
		}
		assert.Equal(t, "work", i.sh(`cd /workspace && echo x > f && chmod 1755 f && mkdir -p sub && chmod 700 sub && mv f sub/g && echo work`))
	})
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		assert.Zero(t, info.Mode()&(fs.ModeSetuid|fs.ModeSetgid), path)
		_, err = unix.Lgetxattr(path, "security.capability", nil)
		assert.Error(t, err, path)
		return nil
	}))
}

// Elsewhere packages bring such programs, and they work.
func TestSetIDProgramsInASandbox(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		assert.Equal(t, "4755", i.sh("cp /bin/true /opt/own && chmod 4755 /opt/own && stat -c %a /opt/own"))
	})
}

// A descriptor of the host that should ever come to a program inside opens
// nothing there.
func TestADescriptorOfTheHostOpensNothing(t *testing.T) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < 2 {
		t.Skip("this kernel has no Landlock")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("of the host"), 0o644))
	host, err := os.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, host.Close()) })
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		read, write, err := pipe(false)
		require.NoError(t, err)
		s := i.sandbox.(*sandbox) //nolint:errcheck,forcetypeassert // it is one
		p, _, err := s.guest.Exec(t.Context(), guest.Command{
			Args: []string{"sh", "-c", `exec 3<&0 </dev/null; exec python3 -c 'import os
print(os.path.isdir(3))
try:
    os.open("file", os.O_RDONLY, dir_fd=3)
except PermissionError:
    print("refused")'`},
			Env: []string{"PATH=/usr/bin:/bin"},
		}, host, write, write)
		require.NoError(t, err)
		require.NoError(t, write.Close())
		said, err := io.ReadAll(read)
		require.NoError(t, err)
		require.NoError(t, read.Close())
		<-p.Done()
		assert.Equal(t, "True\nrefused\n", string(said))
	})
}
