//go:build linux

package linux_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mounters are the processes that make mounts for a program.
func mounters(t *testing.T, program int) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []int
	for _, path := range all {
		name, err := os.ReadFile(path)
		if err != nil || string(name) != "seer-mounter\x00" {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err == nil && bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", program)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			found = append(found, pid)
		}
	}
	return found
}

// One process makes the mounts of all sandboxes, none of which sees it; another
// takes its place should it end.
func TestMounterIsBegunAnew(t *testing.T) {
	r := newRuntime(t)
	one, _ := start(t, r), start(t, r)
	running := mounters(t, os.Getpid())
	require.Len(t, running, 1)
	assert.Equal(t, "", sh(t, one, "cat /proc/[0-9]*/cmdline | grep -a '[s]eer-mounter' || true"))
	require.NoError(t, syscall.Kill(running[0], syscall.SIGKILL))
	require.Eventually(t, func() bool { return len(mounters(t, os.Getpid())) == 0 }, waitLimit, waitStep)

	require.NoError(t, one.MountImage(t.Context(), "/mnt/empty", ""))
	assert.Equal(t, "alive\n", sh(t, start(t, r), "echo alive"))
	require.Len(t, mounters(t, os.Getpid()), 1)
	require.NoError(t, r.Close())
	assert.Empty(t, mounters(t, os.Getpid()))
}
