//go:build linux

package linux_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

const victimArgument = "run-a-sandbox-and-wait"

// victim is a program that starts a sandbox and waits to be killed.
func victim() {
	s, err := startVictim(os.Args[2])
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = fmt.Fprintln(os.Stdout, "ready")
	<-s.Done()
}

func startVictim(dir string) (runtime.Sandbox, error) {
	r, err := linux.New(linux.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	img, err := r.HostImage(context.Background())
	if err != nil {
		return nil, err
	}
	return r.Start(context.Background(), runtime.Spec{
		ID: "victim", Image: img.ID, Command: []string{"sh", "-c", "setsid sleep 98765 & exec sleep 98765"}, MemoryMB: 64,
	})
}

func TestKilledProgramLeavesNothing(t *testing.T) {
	dir := seededDir(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, victimArgument, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	require.Eventually(t, func() bool { return sleeping(t) == 2 }, waitLimit, waitStep)
	helpers := mounters(t, cmd.Process.Pid)
	require.Len(t, helpers, 1)

	// A second program with the same directory leaves the first one alone.
	other := newRuntimeIn(t, linux.Config{Dir: dir})
	require.DirExists(t, filepath.Join(dir, "sandboxes", "victim"))
	require.Equal(t, 2, sleeping(t))

	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	assert.Error(t, cmd.Wait())
	require.Eventually(t, func() bool { return sleeping(t) == 0 }, waitLimit, waitStep)
	require.Eventually(t, func() bool { return errors.Is(syscall.Kill(helpers[0], 0), syscall.ESRCH) }, waitLimit, waitStep)

	s := start(t, other)
	assert.Equal(t, "alive\n", sh(t, s, "echo alive"))
	newRuntimeIn(t, linux.Config{Dir: dir})
	assert.NoDirExists(t, filepath.Join(dir, "sandboxes", "victim"))
	assert.Empty(t, controlGroups(t, "seer-*-victim"))
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), dir)
}

// sleeping finds the victim's processes by their argument.
func sleeping(t *testing.T) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	found := 0
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && string(b) == "sleep\x0098765\x00" {
			found++
		}
	}
	return found
}

func controlGroups(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/*/*/", "/sys/fs/cgroup/*/*/*/", "/sys/fs/cgroup/"} {
		dirs, err := filepath.Glob(pattern + name)
		require.NoError(t, err)
		found = append(found, dirs...)
	}
	return found
}
