//go:build linux

package mounter

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Both ways of mounting an overlay, in a user namespace of their own.
func TestOverlay(t *testing.T) {
	if os.Getenv("MOUNTER_TEST_INSIDE") == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestOverlay$", "-test.v")
		cmd.Env = append(os.Environ(), "MOUNTER_TEST_INSIDE=yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	for name, mount := range map[string]func(Overlay) (int, error){"new": newOverlay, "old": oldOverlay} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for _, sub := range []string{"one", "two", "upper", "work", "at"} {
				require.NoError(t, os.Mkdir(sub, 0o755))
			}
			require.NoError(t, os.WriteFile("one/file", []byte("top"), 0o644))
			require.NoError(t, os.WriteFile("two/file", []byte("bottom"), 0o644))
			fd, err := mount(Overlay{Target: "/", Lower: []string{"one", "two"}, Upper: "upper", Work: "work"})
			require.NoError(t, err)
			require.NoError(t, unix.MoveMount(fd, "", unix.AT_FDCWD, dir+"/at", unix.MOVE_MOUNT_F_EMPTY_PATH))
			require.NoError(t, unix.Close(fd))
			defer func() {
				assert.NoError(t, unix.Unmount(dir+"/at", unix.MNT_DETACH))
				assert.NoError(t, os.Chmod(dir+"/work/work", 0o700))
			}()
			b, err := os.ReadFile("at/file")
			require.NoError(t, err)
			assert.Equal(t, "top", string(b))
			require.NoError(t, os.WriteFile("at/new", nil, 0o644))
			require.NoError(t, os.Remove("at/file"))
			assert.FileExists(t, "upper/new")
		})
	}
	_, err := oldOverlay(Overlay{Target: "/", Lower: strings.Fields(strings.Repeat("layer ", 2000))})
	assert.ErrorContains(t, err, "too many")
}
