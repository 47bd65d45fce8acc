package rpc_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The kernel may hand a process's signal to any of its threads.
func TestSigtermEndsTheServerWhicheverThreadTakesIt(t *testing.T) {
	_, cmd := startServerProcess(t, newest(t).path)
	pid := cmd.Process.Pid
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	require.NoError(t, err)
	require.Greater(t, len(threads), 1)
	other, err := strconv.Atoi(threads[1].Name())
	require.NoError(t, err)
	require.NoError(t, unix.Tgkill(pid, other, unix.SIGTERM))
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	require.NoError(t, cmd.Wait())
}
