package seer_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/local"
)

// smallDisk returns a directory on a file system of its own.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a small disk can be mounted by root alone")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, 0), "somebody still uses it") })
	return dir
}

func TestFullDisk(t *testing.T) {
	longtest.Only(t) // a disk of its own needs its Python installed anew
	t.Parallel()
	dir := smallDisk(t, 256)
	backend := local.New(local.Dir(dir))
	t.Cleanup(func() { assert.NoError(t, backend.Close()) })
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(within(t, 2*time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, sandbox) })
	require.NoError(t, sandbox.WriteFile(t.Context(), "/root/kept", []byte("kept")))

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	ctx := within(t, patience)
	err = sandbox.WriteFile(ctx, "/root/kept", bytes.Repeat([]byte("x"), 8<<20))
	require.ErrorIs(t, err, syscall.ENOSPC)
	data, err := sandbox.ReadFile(ctx, "/root/kept")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(data), "a write that fails leaves the old content")
	_, err = sandbox.Exec(ctx, "head -c 8M /dev/zero >/root/more")
	require.ErrorContains(t, err, "No space left on device")
	_, err = sandbox.Snapshot(ctx, "no room")
	require.ErrorContains(t, err, "no space left on device")
	_, err = sandbox.Exec(ctx, "head -c 8M /dev/zero; touch /dev/shm/went-on")
	require.ErrorContains(t, err, "no space left on device", "output that cannot be kept is missed")
	_, err = sandbox.Exec(ctx, "test -e /dev/shm/went-on")
	require.NoError(t, err)
	_, err = seer.NewSandbox(seer.SandboxConfig{SetupCommands: []string{"head -c 8M /dev/zero >/opt/file"}}, seer.WithBackend(backend)).Start(ctx)
	require.Error(t, err)
	assert.Contains(t, strings.ToLower(err.Error()), "no space left on device")

	require.NoError(t, os.Remove(ballast))
	_, err = sandbox.Exec(ctx, "rm -f /root/more && head -c 1M /dev/zero >/root/less")
	require.NoError(t, err, "it works on once there is room")
	_, err = sandbox.Snapshot(ctx, "with room")
	require.NoError(t, err)
}

// fill writes a file until the disk takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	for _, chunk := range []int{1 << 20, 4 << 10} {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, chunk))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
}
