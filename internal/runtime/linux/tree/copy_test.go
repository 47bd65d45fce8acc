//go:build linux

package tree_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// capNetRaw is the attribute that lets a program use raw sockets.
func capNetRaw() []byte {
	const version2, effective = 0x02000000, 1
	value := make([]byte, 20)
	binary.LittleEndian.PutUint32(value, version2|effective)
	binary.LittleEndian.PutUint32(value[4:], 1<<unix.CAP_NET_RAW)
	return value
}

// accessList lets another user read and write; the mask is the mode's group.
func accessList(uid uint32) []byte {
	const version, owner, user, group, mask, others, none = 2, 1, 2, 4, 16, 32, ^uint32(0)
	value := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{owner, 7, none}, {user, 6, uid}, {group, 4, none}, {mask, 6, none}, {others, 0, none}} {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, e.perm)
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return value
}

func copied(t *testing.T, from string, kind tree.Kind) string {
	t.Helper()
	to := t.TempDir()
	src, err := tree.OpenDir(from)
	require.NoError(t, err)
	dst, err := tree.OpenDir(to)
	require.NoError(t, err)
	require.NoError(t, tree.Copy(t.Context(), dst, src, kind))
	require.NoError(t, unix.Close(src))
	require.NoError(t, unix.Close(dst))
	return to
}

// Whatever a file has beside its content is there in the copy, however the
// attributes depend on each other.
func TestCopyKeepsAttributes(t *testing.T) {
	root := os.Geteuid() == 0
	for _, kind := range []tree.Kind{tree.Plain, tree.Layer} {
		from := t.TempDir()
		when := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
		want := map[string]map[string][]byte{}
		for name, mode := range map[string]os.FileMode{
			"plain": 0o640, "read only": 0o444, "set id": 0o755 | os.ModeSetuid | os.ModeSetgid, "secret": 0, "directory": 0o750 | os.ModeDir | os.ModeSticky,
		} {
			path := filepath.Join(from, name)
			if mode.IsDir() {
				require.NoError(t, os.Mkdir(path, 0o700))
			} else {
				require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
			}
			if root {
				require.NoError(t, os.Chown(path, 1234, 2345))
			}
			xattrs := map[string][]byte{"user.note": []byte("kept"), "system.posix_acl_access": accessList(4321)}
			if mode.IsDir() {
				xattrs["system.posix_acl_default"] = accessList(4322)
			} else if root {
				xattrs["security.capability"] = capNetRaw()
			}
			require.NoError(t, os.Chmod(path, mode))
			for attribute, value := range xattrs {
				if attribute == "user.note" && !root && mode.Perm()&0o200 == 0 {
					delete(xattrs, attribute) // a user sets none on what is not writable
					continue
				}
				require.NoError(t, unix.Setxattr(path, attribute, value, 0), "%s of %s", attribute, name)
			}
			require.NoError(t, os.Chtimes(path, when, when))
			want[name] = xattrs
		}
		if !root {
			require.NoError(t, os.Chmod(filepath.Join(from, "secret"), 0o400)) // which only root reads otherwise
		}
		to := copied(t, from, kind)
		for name, xattrs := range want {
			var before, after unix.Stat_t
			require.NoError(t, unix.Stat(filepath.Join(from, name), &before))
			require.NoError(t, unix.Stat(filepath.Join(to, name), &after))
			assert.Equal(t, before.Mode, after.Mode, name)
			assert.Equal(t, [2]uint32{before.Uid, before.Gid}, [2]uint32{after.Uid, after.Gid}, name)
			assert.Equal(t, before.Mtim, after.Mtim, name)
			for attribute := range xattrs {
				assert.Equal(t, xattr(t, filepath.Join(from, name), attribute), xattr(t, filepath.Join(to, name), attribute), "%s of %s", attribute, name)
			}
		}
	}
}

func xattr(t *testing.T, path, attribute string) []byte {
	t.Helper()
	value := make([]byte, 256)
	n, err := unix.Getxattr(path, attribute, value)
	require.NoError(t, err, "%s of %s", attribute, path)
	return value[:n]
}

// Names of one file stay names of one file, and holes stay holes.
func TestCopyKeepsLinksAndHoles(t *testing.T) {
	from := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(from, "dir"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "a"), []byte("one"), 0o600))
	require.NoError(t, os.Link(filepath.Join(from, "a"), filepath.Join(from, "dir", "b")))
	sparse, err := os.Create(filepath.Join(from, "sparse"))
	require.NoError(t, err)
	_, err = sparse.WriteAt([]byte("end"), 1<<30)
	require.NoError(t, err)
	require.NoError(t, sparse.Close())

	to := copied(t, from, tree.Layer)
	var a, b, hole unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(to, "a"), &a))
	require.NoError(t, unix.Stat(filepath.Join(to, "dir", "b"), &b))
	assert.Equal(t, a.Ino, b.Ino)
	require.NoError(t, unix.Stat(filepath.Join(to, "sparse"), &hole))
	assert.EqualValues(t, 1<<30+3, hole.Size)
	assert.Less(t, hole.Blocks, int64(1<<20/512))
}
